import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Request, type Response, Router } from 'express';
import { z } from 'zod';
import { nameOfDevice, pathOfDevice, timeView, type TimeView } from '../devices/device-view.js';
import { noSuchDevice } from '../devices/no-such-device.js';
import type { UserDevice } from '../devices/user-devices.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { networkOf } from '../http/networks.js';
import { createPlaces, type FullBound, type PlaceBounds } from '../http/places.js';
import { limitCaller, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { readRange, sliceOf, type WantedBytes } from '../pictures/byte-range.js';
import { CLIP_PROBLEMS, type ClipProblemView, partText } from '../pictures/clip-words.js';
import { type ClipCore, type ClipProblem, type OpenedClip, openClipOf } from '../pictures/clips.js';
import type { RingClip } from '../ring/media.js';
import { csrfToken } from '../users/csrf.js';
import { signedInOrHome, signedInOrRefused, userIdOf } from '../users/current-user.js';
import { type AccessDependencies, watchAccess } from './device-access.js';
import { requireCamera, requiredDevice } from './required-device.js';

declare module '../http/render.js' {
  interface Views {
    recording: {
      title: string;
      csrfToken: string;
      device: { name: string; href: string };
      at: TimeView;
      clip: ClipView | null;
      problem: ClipProblemView | null;
    };
  }
}

export interface ClipView {
  src: string;
  begins: TimeView;
  /** What is said when only a part was recorded; null when all of it was. */
  part: string | null;
}

export interface ClipDependencies extends ClipCore, AccessDependencies {
  limits: RateLimits;
}

/** The most streams at once. A browser opens another one before it has closed the one before. */
export const CLIP_PLACES: PlaceBounds = { ofUser: 4, ofNetwork: 60, ofProcess: 200 };
const STREAMS_RETRY_AFTER_SECONDS = 30;
/** A browser that does not read for so long, in ms, because the video is paused, asks for the rest anew. */
const STREAM_LIMIT_MS = 15 * 60_000;

/** An event's time in an address, in epoch ms. */
const At = z
  .string()
  .regex(/^\d{12,14}$/)
  .transform((text) => new Date(Number(text)));

type ClipParameters = { deviceId: string; at: string };

/**
 * What Ring recorded at an event, as a page with a player, and the video itself, which goes through here piece by piece as
 * fast as the browser takes it. An address names the time of an event and not its ID: an event that Ring's history told
 * first gets another one from its webhook.
 */
export function recordingPages(dependencies: ClipDependencies): Router {
  const { db, limits } = dependencies;
  const places = createPlaces(CLIP_PLACES);
  const router = Router();

  const video = router.route('/devices/:deviceId/recordings/:at/video');
  video.get(signedInOrRefused, async (request: Request<ClipParameters>, response) => {
    const userId = userIdOf(request);
    await limits.clip.consume(userId);
    const leavePlace = places.take(userId, networkOf(request.ip));
    if (typeof leavePlace === 'string') throw noPlace(leavePlace);
    const { sessionID: sessionId, params } = request;
    const access = watchAccess(dependencies, { userId, sessionId, deviceId: params.deviceId });
    try {
      const { device, at } = await wanted(request);
      await sendVideo(dependencies, device, at, request, response, access.lost);
    } finally {
      access.end();
      leavePlace();
    }
  });
  video.all(methodNotAllowed('GET', 'HEAD'));
  router.use('/devices/:deviceId/recordings/:at/video', problemDetails);

  const page = router.route('/devices/:deviceId/recordings/:at');
  page.get(limitCaller(limits.visit), signedInOrHome, async (request: Request<ClipParameters>, response) => {
    await limits.clip.consume(userIdOf(request));
    const { device, at } = await wanted(request);
    // Asked first, so that the page can say what there is. The player asks again.
    const asking = new AbortController();
    const opened = await openClipOf(dependencies, device, at, asking.signal);
    asking.abort();
    if (opened.kind === 'problem' && opened.problem === 'gone') throw noSuchDevice(opened.cause);
    if (opened.kind === 'problem' && opened.problem === 'no-link') {
      // The home page tells how the link stands.
      seeOther(response, '/ring/home');
      return;
    }
    if (opened.kind === 'problem') {
      const retryAfter = retryAfterOf(opened);
      response.status(CLIP_PROBLEMS[opened.problem].status);
      if (retryAfter !== undefined) response.set('Retry-After', `${retryAfter}`);
    }
    render(response, 'recording', {
      title: 'Recording',
      csrfToken: await csrfToken(request),
      device: { name: nameOfDevice(device.name), href: pathOfDevice(device.id) },
      at: timeView(at),
      clip: opened.kind === 'clip' ? clipView(`${pathOfRecording(device.id, at)}/video`, opened) : null,
      problem: opened.kind === 'problem' ? CLIP_PROBLEMS[opened.problem].view : null,
    });
  });
  page.all(methodNotAllowed('GET', 'HEAD'));
  return router;

  /** @throws {HttpError} 404; 409 for a device without a camera */
  async function wanted(request: Request<ClipParameters>): Promise<{ device: UserDevice; at: Date }> {
    const device = await requiredDevice(db, userIdOf(request), request.params.deviceId);
    requireCamera(device);
    const at = At.safeParse(request.params.at);
    if (!at.success) throw new HttpError(404, 'There is no such recording.');
    return { device, at: at.data };
  }
}

const pathOfRecording = (deviceId: string, at: Date): string => `${pathOfDevice(deviceId)}/recordings/${at.getTime()}`;

function noPlace(full: FullBound): HttpError {
  const later = { retryAfterSeconds: STREAMS_RETRY_AFTER_SECONDS };
  switch (full) {
    case 'ofUser':
      return new HttpError(429, 'You have too many recordings open. Close some of them.', later);
    case 'ofNetwork':
    case 'ofProcess':
      return new HttpError(503, 'Many people are watching right now. Please try again in a moment.', later);
  }
}

/**
 * Streams the video, or the part of it that the browser asks for. Ring is not known to answer ranges, so the part is cut out
 * of a stream from the beginning.
 *
 * @param lost ends the stream, because the user may not use the device any more
 * @throws {HttpError} with the reason why there is none
 */
async function sendVideo(
  dependencies: ClipDependencies,
  device: UserDevice,
  at: Date,
  request: Request<ClipParameters>,
  response: Response,
  lost: AbortSignal,
): Promise<void> {
  const leaving = new AbortController();
  response.once('close', () => {
    leaving.abort();
  });
  if (response.closed) return;
  const signal = AbortSignal.any([leaving.signal, lost, AbortSignal.timeout(STREAM_LIMIT_MS)]);
  try {
    const opened = await openClipOf(dependencies, device, at, signal);
    if (leaving.signal.aborted) return;
    lost.throwIfAborted();
    if (opened.kind === 'problem') throw refusalOf(opened);
    const { clip } = opened;
    // Without a validator, nothing can be the same as before.
    const range = request.get('if-range') === undefined && request.method === 'GET' ? request.get('range') : undefined;
    const bytes = readRange(range, clip.size);
    if (bytes.kind === 'beyond') {
      throw new HttpError(416, 'The recording is shorter than that.', {
        headers: { 'Content-Range': `bytes */${clip.size ?? '*'}` },
      });
    }
    writeHead(response, clip, bytes);
    if (request.method === 'HEAD') response.end();
    else await send(dependencies, clip, bytes, response, signal);
  } finally {
    // Also ends what was opened and not read.
    leaving.abort();
  }
}

function writeHead(
  response: Response,
  { size, recordedMs }: RingClip,
  bytes: Exclude<WantedBytes, { kind: 'beyond' }>,
): void {
  response.status(bytes.kind === 'part' ? 206 : 200).set({
    'Content-Type': 'video/mp4',
    ...(recordedMs !== undefined && { 'X-Media-Length': `${recordedMs}` }),
  });
  if (size === undefined) return;
  const { first, last } = bytes.kind === 'part' ? bytes : { first: 0, last: size - 1 };
  response.set({ 'Accept-Ranges': 'bytes', 'Content-Length': `${last - first + 1}` });
  if (bytes.kind === 'part') response.set('Content-Range', `bytes ${first}-${last}/${size}`);
}

/** Sends the bytes as fast as the browser takes them. A stream that breaks off ends the response in the middle. */
async function send(
  { log }: ClipDependencies,
  { body, size }: RingClip,
  bytes: Exclude<WantedBytes, { kind: 'beyond' }>,
  response: Response,
  signal: AbortSignal,
): Promise<void> {
  const { first, last } = bytes.kind === 'part' ? bytes : { first: 0, last: (size ?? Infinity) - 1 };
  const source = size === undefined ? body : sliceOf(body, first, last);
  async function* read(): AsyncGenerator<Uint8Array> {
    try {
      yield* source;
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, 'a clip broke off');
      throw error;
    }
  }
  // The browser that has left, and the one whose video broke off, can be told nothing more.
  await pipeline(Readable.from(read()), response, { signal }).catch(() => undefined);
}

function clipView(src: string, { clip, startsAt }: Extract<OpenedClip, { kind: 'clip' }>): ClipView {
  return { src, begins: timeView(startsAt), part: partText(clip) };
}

type Problem = Extract<OpenedClip, { kind: 'problem' }>;

const RETRY_AFTER_SECONDS: Partial<Record<ClipProblem, number>> = { busy: 10, 'not-ready': 30 };

const retryAfterOf = ({ problem, retryAfterSeconds }: Problem): number | undefined =>
  retryAfterSeconds ?? RETRY_AFTER_SECONDS[problem];

function refusalOf(opened: Problem): HttpError {
  const { status, view } = CLIP_PROBLEMS[opened.problem];
  const retryAfterSeconds = retryAfterOf(opened);
  return new HttpError(status, [view.message, ...view.steps].join(' '), {
    cause: opened.cause,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}
