import type { RingErrorKind } from '../ring/errors.js';
import { retryPauseMs } from '../time/retry-pause.js';
import type { LookedUp } from './look-up.js';

/** Some 30 s in all. A failure that lasts longer is left to the next run, or click. */
const MAX_ATTEMPTS = 6;
const MAX_PAUSE_MS = 60_000;
const MAY_PASS: ReadonlySet<RingErrorKind> = new Set(['unavailable', 'no-answer', 'rate-limited', 'unreachable']);

/** How often what is not ready is asked for, and after which pause: Ring says "within a minute". */
const MAX_NOT_READY_ATTEMPTS = 7;
const NOT_READY_PAUSE_MS = 10_000;

/**
 * The pause in ms before a picture is asked for again; undefined when that would be in vain, or was tried often enough.
 *
 * @param attempt the attempt that has just failed, counted from 1
 */
export function pauseBeforeRetry(
  { outcome, error }: Extract<LookedUp, { kind: 'missing' }>,
  attempt: number,
): number | undefined {
  if (error === null || !MAY_PASS.has(error.kind)) return undefined;
  if (outcome === 'not-ready') return attempt < MAX_NOT_READY_ATTEMPTS ? NOT_READY_PAUSE_MS : undefined;
  return attempt < MAX_ATTEMPTS ? retryPauseMs(attempt, MAX_PAUSE_MS, error.retryAfterSeconds) : undefined;
}
