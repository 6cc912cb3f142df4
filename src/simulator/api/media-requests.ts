import { z } from 'zod';
import { sharedDevices } from '../state/accounts.js';
import type { Device } from '../state/devices.js';
import { hasVideo } from '../state/devices.js';
import type { RequestFacts } from '../state/request-log.js';
import type { Wanted } from '../state/signed-downloads.js';
import type { Simulation } from '../state/state.js';
import type { Grant } from '../state/tokens.js';
import type { RingAnswer, RingRequest } from './endpoint.js';
import { checkToken, readJson, recordOfBearer, TOKEN_PROBLEMS } from './json-api.js';
import type { MediaRefusal } from './media-errors.js';
import { refuseMedia } from './media-errors.js';

/** The common parts of the requests for pictures and clips: the token, the device, the body, the times, the redirect. */

const DAY_MS = 24 * 60 * 60 * 1_000;
const OLDEST_DAYS = 180;
const LONGEST_RECORDED_BODY = 2_000;

/** A time in the body. It must not be before the user's consent, more than 180 days ago, or in the future. */
export interface AskedTime {
  /** epoch ms */
  at: number;
  pointer: string;
}

export type ReadBody = (body: unknown, now: number) => MediaReading;

/** The reading of a body: what is wanted and the times in it, or what is wrong with it. */
export type MediaReading = { kind: 'good'; wanted: Wanted; times: AskedTime[] } | ({ kind: 'bad' } & MediaRefusal);

/**
 * Answers a request for media with a redirect to the media host. Mistakes of form are answered here; whether anything
 * was recorded shows at the download.
 */
export function answerMediaRequest(
  simulation: Simulation,
  request: RingRequest,
  redirect: 301 | 303,
  read: ReadBody,
): RingAnswer {
  const granted = deviceOf(simulation, request);
  if (granted.kind === 'refused') return refuseMedia(simulation, granted);
  const now = simulation.now();
  const reading = readMediaRequest(request, now, granted.integration.consented_at, read);
  if (reading.kind === 'bad') return refuseMedia(simulation, reading);

  const { user, device } = granted;
  const token = simulation.state.downloads.add({
    account_id: user.account_id,
    device,
    at: now,
    wanted: reading.wanted,
  });
  const url = `http://${hostname(request)}:${simulation.mediaPort}/v1/download?security_token=${token}`;
  return { status: redirect, headers: { Location: url }, body: '' };
}

/** Reads what is wanted. Times are epoch ms. */
export function readMediaRequest(request: RingRequest, now: number, consentedAt: number, read: ReadBody): MediaReading {
  if (request.body === '') return { kind: 'bad', code: 'REQUEST_FORBIDDEN', detail: 'The body is missing.' };
  const reading = read(readJson(request), now);
  if (reading.kind === 'bad') return reading;
  const problem = problemOfTimes(reading.times, now, consentedAt);
  return problem === undefined ? reading : { kind: 'bad', ...problem };
}

/** The record of a request for media. */
export function recordOfMediaRequest(
  simulation: Simulation,
  request: RingRequest,
): { account_id: string | null; facts: RequestFacts } {
  const { account_id, facts } = recordOfBearer(simulation, request);
  return { account_id, facts: { ...facts, asked: request.body.slice(0, LONGEST_RECORDED_BODY) } };
}

/** The first mistake in a body, with its place. */
export function badBody(error: z.ZodError): MediaReading {
  const [issue] = error.issues;
  const path = [...(issue?.path ?? []), ...(issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [])];
  return {
    kind: 'bad',
    code: 'INVALID_PAYLOAD',
    detail: issue?.message ?? 'The body is invalid.',
    pointer: `/${path.map(String).join('/')}`,
  };
}

/** Times that can't be asked for are a mistake of form. Those before the consent are forbidden. */
function problemOfTimes(times: readonly AskedTime[], now: number, consentedAt: number): MediaRefusal | undefined {
  for (const { at, pointer } of times) {
    const detail = at > now ? 'The time is in the future.' : `The time is more than ${OLDEST_DAYS} days ago.`;
    if (at > now || now - at > OLDEST_DAYS * DAY_MS) return { code: 'INVALID_PAYLOAD', detail, pointer };
  }
  if (times.every(({ at }) => at >= consentedAt)) return undefined;
  return { code: 'TIME_RANGE_NOT_AUTHORIZED', detail: 'The time range begins before the user’s consent.' };
}

type DeviceReading = ({ kind: 'good'; device: Device } & Grant) | ({ kind: 'refused' } & MediaRefusal);

/** A device without video is answered as one that isn't there: Ring's pages have no code of their own for it. */
function deviceOf(simulation: Simulation, request: RingRequest): DeviceReading {
  const check = checkToken(simulation, request);
  if (check.kind !== 'good') return { kind: 'refused', code: 'UNAUTHORIZED', detail: TOKEN_PROBLEMS[check.kind] };
  const { user, integration } = check.grant;
  const isInstalled = user.integration === integration;
  const device = isInstalled ? sharedDevices(user).find(({ id }) => id === request.params.device_id) : undefined;
  if (device === undefined || !hasVideo(device)) {
    return { kind: 'refused', code: 'DEVICE_NOT_FOUND', detail: 'The app sees no such device with video.' };
  }
  return { kind: 'good', device, user, integration };
}

/** The host name under which the caller reaches the simulator. The media host has the same, with another port. */
function hostname({ host }: RingRequest): string {
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url).hostname : 'localhost';
}
