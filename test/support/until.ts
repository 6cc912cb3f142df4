import { setTimeout as delay } from 'node:timers/promises';
import { WAIT_LIMIT_MS } from './limits.js';

/**
 * Waits until a condition holds, and fails with `what` when it never does.
 *
 * @param limitMs for what would come by itself in the end, and must come before
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
    // Who asks costs time that others need, and what has taken long is not in a hurry.
    await delay(Math.min(20 + waitedMs / 4, 500));
  }
}
