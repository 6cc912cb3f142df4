import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';

/** The share of Ring's request limit that the background refresh may use, on all instances together. */
export interface RefreshBudget {
  /** Waits for a turn. @returns false when there is none for now: Ring has asked for a pause, or the service stops */
  take(): Promise<boolean>;
  /** Keeps all instances from calling, because Ring has asked for a pause. */
  pause(seconds: number): Promise<void>;
}

/** Half of the 100 requests a second that Ring allows. The other half is for users and events. */
const CALLS_PER_SECOND = 50;
/** Turns are counted in short windows. With a long one, its end and the next one's start could take twice as many a second. */
const WINDOWS_PER_SECOND = 10;
const KEY = 'background';
/** The longest pause. Ring can ask for another one after it. */
const MAX_PAUSE_SECONDS = 15 * 60;
/** A wait that is longer than any wait for a turn: it is a pause. */
const PAUSED_MS = 1_000;

export function createRefreshBudget(pool: Pool, isStopping: () => boolean): RefreshBudget {
  const limiter = new RateLimiterPostgres({
    storeClient: pool,
    storeType: 'pool',
    tableName: 'rate_limits',
    tableCreated: true,
    keyPrefix: 'ring_calls',
    points: CALLS_PER_SECOND / WINDOWS_PER_SECOND,
    duration: 1 / WINDOWS_PER_SECOND,
  });

  /** @returns 0 when a turn was taken, or how long there is none, in ms */
  async function consume(): Promise<number> {
    try {
      await limiter.consume(KEY);
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
        if (waitMs > 2 * MAX_PAUSE_SECONDS * 1_000) await limiter.delete(KEY);
        else if (waitMs > PAUSED_MS) return false;
        else await delay(waitMs);
      }
      return false;
    },

    async pause(seconds) {
      const bounded = Math.min(Math.max(1, seconds), MAX_PAUSE_SECONDS);
      const present = await limiter.get(KEY);
      // A pause is never made shorter: a later answer may ask for less than an earlier one.
      if ((present?.msBeforeNext ?? 0) < bounded * 1_000) await limiter.block(KEY, bounded);
    },
  };
}
