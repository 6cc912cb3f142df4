const MAX_RETRY_AFTER_MS = 15 * 60_000;

/**
 * The pause before the next attempt, in ms: 1 s, 2 s, 4 s … up to the cap. It is longer when Ring asked for more, up to 15
 * minutes.
 *
 * @param attempt the attempt that has just failed, counted from 1
 */
export function retryPauseMs(attempt: number, capMs: number, retryAfterSeconds = 0): number {
  const backoffMs = Math.min(capMs, 1_000 * 2 ** Math.min(attempt - 1, 20));
  return Math.max(backoffMs, Math.min(retryAfterSeconds * 1_000, MAX_RETRY_AFTER_MS));
}
