import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';

/** The share of Ring's request limit that the background refresh may use, on all instances together. */
export interface RefreshBudget {
  /** Waits until one more call may be made. @returns false when the service stops before that */
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
/** Ring may want to be left alone for longer than a stop can wait. */
const MAX_WAIT_MS = 500;

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
  return {
    async take() {
      while (!isStopping()) {
        try {
          await limiter.consume(KEY);
          return true;
        } catch (error) {
          if (!(error instanceof RateLimiterRes)) throw error;
          await delay(Math.min(Math.max(10, error.msBeforeNext), MAX_WAIT_MS));
        }
      }
      return false;
    },
    async pause(seconds) {
      await limiter.block(KEY, Math.min(seconds, MAX_PAUSE_SECONDS));
    },
  };
}
