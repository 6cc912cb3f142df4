import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';

/** A share of Ring's request limit, on all instances together. */
export interface CallBudget {
  /** Waits for a turn. @returns false when there is none for now: Ring has asked for a pause, or the service stops */
  take(): Promise<boolean>;
  /** Keeps all instances from calling, because Ring has asked for a pause. */
  pause(seconds: number): Promise<void>;
}

/** The share of the background refresh. */
export type RefreshBudget = CallBudget;

/** Half of the 100 requests a second that Ring allows. The other half is for users and events. */
const REFRESH_SHARE = { key: 'background', callsPerSecond: 50 } as const;
/** Turns are counted in short windows. With a long one, its end and the next one's start could take twice as many a second. */
const WINDOWS_PER_SECOND = 10;
/** The longest pause. Ring can ask for another one after it. */
const MAX_PAUSE_SECONDS = 15 * 60;
/** A wait that is longer than any wait for a turn: it is a pause. */
const PAUSED_MS = 1_000;

export const createRefreshBudget = (pool: Pool, isStopping: () => boolean): RefreshBudget =>
  createCallBudget(pool, REFRESH_SHARE, isStopping);

/** @param share `key` names it in the table. `callsPerSecond` is a multiple of 10 */
export function createCallBudget(
  pool: Pool,
  { key, callsPerSecond }: { key: string; callsPerSecond: number },
  isStopping: () => boolean,
): CallBudget {
  const limiter = new RateLimiterPostgres({
    storeClient: pool,
    storeType: 'pool',
    tableName: 'rate_limits',
    tableCreated: true,
    keyPrefix: 'ring_calls',
    points: callsPerSecond / WINDOWS_PER_SECOND,
    duration: 1 / WINDOWS_PER_SECOND,
  });

  /** @returns 0 when a turn was taken, or how long there is none, in ms */
  async function consume(): Promise<number> {
    try {
      await limiter.consume(key);
      return 0;
    } catch (error) {
      if (error instanceof RateLimiterRes) return Math.max(10, error.msBeforeNext);
      throw error;
    }
  }

  return {
    async take() {
      while (!isStopping()) {
        const waitMs = await consume();
        if (waitMs === 0) return true;
        // A wait this long was set by a wrong clock.
        if (waitMs > 2 * MAX_PAUSE_SECONDS * 1_000) await limiter.delete(key);
        else if (waitMs > PAUSED_MS) return false;
        else await delay(waitMs);
      }
      return false;
    },

    async pause(seconds) {
      const bounded = Math.min(Math.max(1, seconds), MAX_PAUSE_SECONDS);
      const present = await limiter.get(key);
      // A pause is never made shorter: a later answer may ask for less than an earlier one.
      if ((present?.msBeforeNext ?? 0) < bounded * 1_000) await limiter.block(key, bounded);
    },
  };
}
