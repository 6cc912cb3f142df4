import { setTimeout as delay } from 'node:timers/promises';

/** Waits until a condition holds, and fails with `what` when it doesn't in time. */
export async function until<Value>(
  what: string,
  condition: () => Promise<Value | undefined | false>,
  limitMs = 15_000,
): Promise<Value> {
  const giveUpAt = performance.now() + limitMs;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > giveUpAt) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await delay(50);
  }
}
