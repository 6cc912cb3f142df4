import { setTimeout as delay } from 'node:timers/promises';

const MAX_PAUSE_MS = 5_000;

/**
 * Writes down what must not be lost and exists in this process alone: tries again, with pauses of up to 5 s, until it has
 * worked.
 *
 * @param onFailure hears of each failed attempt; what it throws ends the attempts
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
