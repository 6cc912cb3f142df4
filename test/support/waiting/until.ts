import { setTimeout as delay } from 'node:timers/promises';
import { WAIT_LIMIT_MS } from './limits.js';

/**
 * Waits until a condition holds, and fails with `what` if it never does.
 *
 * @param limitMs a shorter limit, for what would come by itself later, and must come before
 */
export async function until<Value>(
  what: string,
  condition: () => Promise<Value | undefined | false>,
  limitMs = WAIT_LIMIT_MS,
): Promise<Value> {
  const startedAt = performance.now();
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    const waitedMs = performance.now() - startedAt;
    if (waitedMs > limitMs) throw new Error(`waited ${Math.round(waitedMs)} ms in vain until ${what}`);
    // Each check costs time that others need, and after a long wait there is no hurry.
    await delay(Math.min(20 + waitedMs / 4, 500));
  }
}
