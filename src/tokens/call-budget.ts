import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';

/** A share of Ring's request limit, for work that no user waits for, on all instances together. */
export interface CallBudget {
  /** Waits for a turn. @returns false when there is none for now: Ring has asked for a pause, or the service stops */
  take(): Promise<boolean>;
  /** Keeps all instances from calling, because Ring has asked for a pause. */
  pause(seconds: number): Promise<void>;
}

export interface Share {
  /** Under this name all instances count together. */
  key: string;
  /** So many calls each window. */
  calls: number;
  /** Short, because the end of a window and the start of the next could take twice as many. */
  windowMs: number;
}

/** Half of the 100 requests a second that Ring allows, for the background refresh. The other half is for users and events. */
export const REFRESH_SHARE: Share = { key: 'background', calls: 5, windowMs: 100 };
/** At most 10 requests a second, for pictures that events get by themselves: each takes two. */
export const PICTURE_SHARE: Share = { key: 'event_pictures', calls: 5, windowMs: 1_000 };
/** A fifth of the 100 requests a second, for the histories of devices. */
export const HISTORY_SHARE: Share = { key: 'history', calls: 2, windowMs: 100 };
/** The longest pause. Ring can ask for another one after it. */
const MAX_PAUSE_SECONDS = 15 * 60;
/** A wait that is longer than any wait for a turn: it is a pause. */
const PAUSED_MS = 1_000;

export function createCallBudget(pool: Pool, { key, calls, windowMs }: Share, isStopping: () => boolean): CallBudget {
  const limiter = new RateLimiterPostgres({
    storeClient: pool,
    storeType: 'pool',
    tableName: 'rate_limits',
    tableCreated: true,
    keyPrefix: 'ring_calls',
    points: calls,
    duration: windowMs / 1_000,
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
