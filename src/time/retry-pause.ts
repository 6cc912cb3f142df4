const MAX_RETRY_AFTER_MS = 15 * 60_000;

/**
 * How long to wait before the next attempt, in ms: 1 s, 2 s, 4 s … up to the cap, or as long as Ring asked for, within
 * reason.
 *
 * @param attempt the one that has just failed, counted from 1
 */
export function retryPauseMs(attempt: number, capMs: number, retryAfterSeconds = 0): number {
  const backoffMs = Math.min(capMs, 1_000 * 2 ** Math.min(attempt - 1, 20));
  return Math.max(backoffMs, Math.min(retryAfterSeconds * 1_000, MAX_RETRY_AFTER_MS));
}
