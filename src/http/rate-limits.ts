import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import type { RequestHandler } from 'express';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import { tooManyRequests } from './errors.js';

export interface RateLimit {
  /** Counts one attempt. @throws {HttpError} 429 when there were too many */
  consume(key: string): Promise<void>;
  /** Takes an attempt back that was counted and could not be made. */
  giveBack(key: string): Promise<void>;
  /** Sets the count back to 0. */
  reset(key: string): Promise<void>;
}

export type RateLimits = ReturnType<typeof createRateLimits>;

export interface RateLimitsOptions {
  pool: Pool;
  /** Connections for what Ring calls, which must not wait for those of pages. */
  callback: Knex;
  /** Multiplies every limit. */
  scale: number;
}

/** As the library takes them. */
type Connections = { storeClient: Pool; storeType: 'pool' } | { storeClient: Knex; storeType: 'knex' };

/**
 * Every rate limit of the service, counted in Postgres so that instances count together. Keys are hashed, so that the table
 * is no list of addresses and e-mails.
 */
export function createRateLimits({ pool, callback, scale }: RateLimitsOptions) {
  const ofPages: Connections = { storeClient: pool, storeType: 'pool' };
  const ofRing: Connections = { storeClient: callback, storeType: 'knex' };
  const limit = (name: string, points: number, seconds: number, connections: Connections = ofPages): RateLimit => {
    const limiter = new RateLimiterPostgres({
      ...connections,
      tableName: 'rate_limits',
      tableCreated: true,
      keyPrefix: name,
      points: Math.max(1, Math.round(points * scale)),
      duration: seconds,
    });
    return {
      async consume(key) {
        try {
          await limiter.consume(hash(key));
        } catch (error) {
          if (error instanceof RateLimiterRes) throw tooManyRequests(Math.ceil(error.msBeforeNext / 1_000));
          throw error;
        }
      },
      async giveBack(key) {
        await limiter.reward(hash(key));
      },
      async reset(key) {
        await limiter.delete(hash(key));
      },
    };
  };
  return {
    /** High, because Ring calls from few addresses for all of its users. */
    tokenExchange: limit('token_exchange', 600, 60, ofRing),
    /** Limited, because a visit of a page with a form may store a session. */
    visit: limit('visit', 120, 60),
    /** Limited, because an attempt walks the whole pool. */
    linkAttempt: limit('link_attempt', 10, 60),
    signInAddress: limit('sign_in_address', 60, 15 * 60),
    signInUser: limit('sign_in_account', 10, 15 * 60),
    signUpAddress: limit('sign_up_address', 20, 60 * 60),
    newEmail: limit('new_email', 20, 60 * 60),
    /** Limited, because each wakes a camera, and Ring counts the calls of all our users together. */
    liveView: limit('live_view', 20, 60),
    picture: limit('picture', 20, 60),
    /** Each part of a video that a browser asks for is two calls to Ring. */
    clip: limit('clip', 60, 60),
    /** Limited, because a download may read some hundred pictures, and keeps a connection while it does. */
    download: limit('download', 10, 60 * 60),
  };
}

/** Limits a route by the caller's address. */
export function limitAddress(limit: RateLimit): RequestHandler {
  return async (request, _response, next) => {
    await limit.consume(network(request.ip ?? 'unknown'));
    next();
  };
}

/** The address, or the /64 of an IPv6 address: a caller who has one address of it has them all. */
function network(address: string): string {
  if (isIP(address) !== 6 || address.includes('.')) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - tail.split(':').filter(Boolean).length;
  const all = [...groups, ...Array<string>(missing).fill('0'), ...(tail ?? '').split(':').filter(Boolean)];
  return all.slice(0, 4).join(':');
}

const hash = (key: string): string => createHash('sha256').update(key).digest('base64url');
