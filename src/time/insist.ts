import { setTimeout as delay } from 'node:timers/promises';

const MAX_PAUSE_MS = 5_000;

/**
 * Repeats a write until it succeeds, with pauses of up to 5 s. For values that exist in this process alone and must not be
 * lost.
 *
 * @param onFailure called after each failed attempt. An error that it throws ends the attempts
 */
export async function insist(write: () => Promise<void>, onFailure: (error: unknown) => void): Promise<void> {
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
    try {
      await write();
      return;
    } catch (error) {
      onFailure(error);
    }
    await delay(pauseMs);
  }
}
