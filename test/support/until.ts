import { setTimeout as delay } from 'node:timers/promises';

/** Waits until a condition holds, and fails with `what` when it doesn't in time. */
export async function until<Value>(
  what: string,
  condition: () => Promise<Value | undefined | false>,
  limitMs = 15_000,
): Promise<Value> {
  const startedAt = performance.now();
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    const waitedMs = performance.now() - startedAt;
    if (waitedMs > limitMs) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    // Who asks costs time that others need, and what has taken long is not in a hurry.
    await delay(Math.min(50 + waitedMs / 10, 500));
  }
}
