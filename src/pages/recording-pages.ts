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
import type { RingClip } from '../ring/media.js';
import { csrfToken } from '../users/csrf.js';
import { signedInOrHome, signedInOrRefused, userIdOf } from '../users/current-user.js';
import { readRange, sliceOf, type WantedBytes } from '../pictures/byte-range.js';
import { requireCamera, requiredDevice } from './required-device.js';
import { CLIP_MS, type ClipCore, type ClipProblem, type OpenedClip, openClipOf } from '../pictures/clips.js';

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

export interface ClipProblemView {
  heading: string;
  message: string;
  steps: string[];
}

export interface ClipDependencies extends ClipCore {
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
    const { device, at } = await wanted(request);
    const leave = places.take(userId, networkOf(request.ip));
    if (typeof leave === 'string') throw noPlace(leave);
    try {
      await sendVideo(dependencies, device, at, request, response);
    } finally {
      leave();
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
      response.status(PROBLEMS[opened.problem].status);
      if (retryAfter !== undefined) response.set('Retry-After', `${retryAfter}`);
    }
    render(response, 'recording', {
      title: 'Recording',
      csrfToken: await csrfToken(request),
      device: { name: nameOfDevice(device.name), href: pathOfDevice(device.id) },
      at: timeView(at),
      clip: opened.kind === 'clip' ? clipView(`${pathOfRecording(device.id, at)}/video`, opened) : null,
      problem: opened.kind === 'problem' ? PROBLEMS[opened.problem].view : null,
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
 * @throws {HttpError} with the reason why there is none
 */
async function sendVideo(
  dependencies: ClipDependencies,
  device: UserDevice,
  at: Date,
  request: Request<ClipParameters>,
  response: Response,
): Promise<void> {
  const leaving = new AbortController();
  response.once('close', () => {
    leaving.abort();
  });
  if (response.closed) return;
  const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(STREAM_LIMIT_MS)]);
  try {
    const opened = await openClipOf(dependencies, device, at, signal);
    if (leaving.signal.aborted) return;
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
  const { recordedMs } = clip;
  const isPart = recordedMs !== undefined && recordedMs < CLIP_MS;
  return { src, begins: timeView(startsAt), part: isPart ? partText(recordedMs) : null };
}

function partText(recordedMs: number): string {
  const seconds = Math.max(1, Math.round(recordedMs / 1_000));
  return `Ring has recorded ${seconds === 1 ? 'one second' : `${seconds} seconds`} of this minute.`;
}

type Problem = Extract<OpenedClip, { kind: 'problem' }>;

const RETRY_AFTER_SECONDS: Partial<Record<ClipProblem, number>> = { busy: 10, 'not-ready': 30 };

const retryAfterOf = ({ problem, retryAfterSeconds }: Problem): number | undefined =>
  retryAfterSeconds ?? RETRY_AFTER_SECONDS[problem];

function refusalOf(opened: Problem): HttpError {
  const { status, view } = PROBLEMS[opened.problem];
  const retryAfterSeconds = retryAfterOf(opened);
  return new HttpError(status, [view.message, ...view.steps].join(' '), {
    cause: opened.cause,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}

const IN_RING_APP = 'Look in the Ring app, which has everything that Ring has recorded.';

/** The answers to somebody for whom there is no clip. */
const PROBLEMS: Record<ClipProblem, { status: number; view: ClipProblemView }> = {
  'not-recorded': {
    status: 404,
    view: {
      heading: 'Nothing was recorded',
      message: 'Ring has no recording of this time, or it was deleted there.',
      steps: ['Check in the Ring app that the device may record, and that your Ring plan includes recordings.'],
    },
  },
  'before-consent': {
    status: 403,
    view: {
      heading: 'From before you shared the device',
      message: 'Ring lets us see only what was recorded since you shared the device with us.',
      steps: [IN_RING_APP],
    },
  },
  encrypted: {
    status: 409,
    view: {
      heading: 'The recording is encrypted',
      message: 'Your Ring account encrypts its recordings, so that only your own phone can show them.',
      steps: ['Watch it in the Ring app. Encryption is also turned off there, for what is recorded from then on.'],
    },
  },
  'not-ready': {
    status: 503,
    view: {
      heading: 'The recording is not ready',
      message: 'Ring is still making it.',
      steps: ['Wait a minute, then load this page again.'],
    },
  },
  corrupt: {
    status: 502,
    view: {
      heading: 'The recording is damaged',
      message: 'Ring can’t read its own recording of this time. Trying again would not help.',
      steps: ['Look in the Ring app: it may have more of it.'],
    },
  },
  busy: {
    status: 503,
    view: {
      heading: 'Ring is busy',
      message: 'Ring can’t give us the recording right now. It is still there.',
      steps: ['Wait a moment, then load this page again.'],
    },
  },
  gone: {
    status: 404,
    view: {
      heading: 'The device is gone',
      message: 'There is no such device, or it is no longer shared in the Ring app.',
      steps: ['Share it again in the Ring app.'],
    },
  },
  'no-link': {
    status: 409,
    view: {
      heading: 'Ring does not let us see this device',
      message: 'The Ring account has to be linked again.',
      steps: ['Your home page says how.'],
    },
  },
  uncovered: {
    status: 403,
    view: {
      heading: 'No subscription covers the device',
      message: 'This needs an active subscription that covers the device.',
      steps: ['Get or renew it in the Ring app; this app follows by itself.'],
    },
  },
  failed: {
    status: 502,
    view: {
      heading: 'The recording did not come',
      message: 'Ring did not answer as it should.',
      steps: ['Load this page again in a minute.', IN_RING_APP],
    },
  },
};
