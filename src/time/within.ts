import { setTimeout as delay } from 'node:timers/promises';

/**
 * What some work comes to, or undefined when that takes longer than the limit, in ms; the work goes on then, and what it
 * throws later is nobody's concern here.
 *
 * @throws what the work throws within the limit
 */
export async function within<Result>(limitMs: number, work: Promise<Result>): Promise<Result | undefined> {
  const isDone = new AbortController();
  try {
    return await Promise.race([work, delay(limitMs, undefined, { signal: isDone.signal })]);
  } finally {
    isDone.abort();
  }
}
