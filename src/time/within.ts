import { setTimeout as delay } from 'node:timers/promises';

/**
 * The work's result, or undefined after `limitMs`. The work goes on then, and an error that it throws later is ignored.
 *
 * @throws the work's error within the limit
 */
export async function within<Result>(limitMs: number, work: Promise<Result>): Promise<Result | undefined> {
  const isDone = new AbortController();
  try {
    return await Promise.race([work, delay(limitMs, undefined, { signal: isDone.signal })]);
  } finally {
    isDone.abort();
  }
}
