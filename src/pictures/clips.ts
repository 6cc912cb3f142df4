import type { Core } from '../core.js';
import type { UserDevice } from '../devices/user-devices.js';
import { consentOf } from '../ring-accounts/consent.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { isGone, RingError } from '../ring/errors.js';
import type { RingClip } from '../ring/media.js';
import { NoLinkError } from '../tokens/errors.js';
import { isOutcome, type MissingOutcome, outcomeOf } from './outcomes.js';

/** A clip of an event begins this long before it, in ms: what was about to happen tells more than the end of it. */
const CLIP_BEFORE_MS = 5_000;
/** A clip lasts this long at most, in ms. Ring gives 15 minutes, and an event is over within a minute. */
export const CLIP_MS = 60_000;

/** Why there is no clip: as there may be no picture, or because the link has ended. */
export type ClipProblem = MissingOutcome | 'no-link';

export type OpenedClip =
  | { kind: 'clip'; clip: RingClip; startsAt: Date }
  | { kind: 'problem'; problem: ClipProblem; retryAfterSeconds: number | undefined; cause: unknown };

export type ClipCore = Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'linkClockSkewSeconds' | 'coverage'>;

/**
 * Opens the stream of what Ring has recorded around an event. Nothing is recorded by that, and nothing stored: Ring's
 * recording stays the only one.
 *
 * The time that is asked for never begins before the user shared the device: Ring would refuse all of it.
 *
 * @param at when the event happened
 * @param signal ends the stream
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export async function openClipOf(
  core: ClipCore,
  { accountId, id: deviceId }: Pick<UserDevice, 'accountId' | 'id'>,
  at: Date,
  signal: AbortSignal,
): Promise<OpenedClip> {
  const { db, ring, tokens, clock, log, linkClockSkewSeconds, coverage } = core;
  if (!(await coverage.isCovered(db, { accountId, deviceId }, clock()))) return problem('uncovered');
  const consent = await consentOf(db, accountId);
  if (consent === undefined) return problem('no-link');
  if (at < consent) return problem('not-shared');
  const latest = clock().getTime() + linkClockSkewSeconds * 1_000;
  if (at.getTime() > latest) return problem('nothing');
  const openAt = async (startsAt: Date): Promise<OpenedClip> => {
    const clip = await tokens.forAccount(accountId, (accessToken) =>
      ring.openClip(accessToken, deviceId, { startsAt, durationMs: CLIP_MS }, signal),
    );
    if (clip.kind === 'encrypted') return problem('encrypted');
    return { kind: 'clip', clip, startsAt: clip.startsAt ?? startsAt };
  };
  const before = new Date(Math.max(at.getTime() - CLIP_BEFORE_MS, consent.getTime()));
  try {
    return await openAt(before).catch((error: unknown) => {
      // By Ring's clock, the user may have shared the device between the two.
      if (before < at && isOutcome(error, 'not-shared')) return openAt(at);
      throw error;
    });
  } catch (error) {
    if (isGone(error)) await refetchDevice(db, { accountId, deviceId, occurredAt: clock() });
    const found = problemOf(error);
    if ((found === 'failed' || found === 'busy') && !signal.aborted) log.warn({ err: error }, 'a clip is not opened');
    return problem(found, error);
  }
}

function problem(reason: ClipProblem, cause?: unknown): OpenedClip {
  const retryAfterSeconds = cause instanceof RingError ? cause.retryAfterSeconds : undefined;
  return { kind: 'problem', problem: reason, retryAfterSeconds, cause };
}

/** @throws what is not an answer of Ring's */
function problemOf(error: unknown): ClipProblem {
  if (error instanceof NoLinkError) return 'no-link';
  if (!(error instanceof RingError)) throw error;
  return outcomeOf(error);
}
