import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';

/** The share of Ring's request limit that the background refresh may use, on all instances together. */
export interface RefreshBudget {
  /** Waits its turn. @returns false when there is none for now: Ring wants to be left alone, or the service stops */
  take(): Promise<boolean>;
  /** Ring wants to be left alone for so long, by all instances. */
  pause(seconds: number): Promise<void>;
}

/** Ring allows 100 requests a second for all of us; the rest is for what users and events ask for. */
const CALLS_PER_SECOND = 50;
/** Counted in short pieces: the end of a long one and the beginning of the next would make twice as many in one second. */
const WINDOWS_PER_SECOND = 10;
const KEY = 'background';
/** Whoever asks for more is asked again after this. */
const MAX_PAUSE_SECONDS = 15 * 60;
/** Nobody waits that long for a turn: it is a pause. */
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

  /** @returns for how long there is no turn, in ms; 0: it has been taken */
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
        // Set by a clock that went wrong.
        if (waitMs > 2 * MAX_PAUSE_SECONDS * 1_000) await limiter.delete(KEY);
        else if (waitMs > PAUSED_MS) return false;
        else await delay(waitMs);
      }
      return false;
    },

    async pause(seconds) {
      const bounded = Math.min(Math.max(1, seconds), MAX_PAUSE_SECONDS);
      const present = await limiter.get(KEY);
      // A later answer may ask for less than an earlier one.
      if ((present?.msBeforeNext ?? 0) < bounded * 1_000) await limiter.block(KEY, bounded);
    },
  };
}
