import { createHash } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import { HttpError, tooManyRequests } from './errors.js';
import { type Network, networkOf } from './networks.js';

/** So many times within so many seconds. */
export interface Rate {
  times: number;
  seconds: number;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** Every rate limit of the service. Who is counted, and why, stands in the README under "Limits". */
export const RATES = {
  token_exchange: { times: 600, seconds: MINUTE },
  refused_code: { times: 5, seconds: 10 * MINUTE },
  refused_code_of_ring: { times: 100, seconds: 10 * MINUTE },
  unproven_codes: { times: 10, seconds: 1 },
  visit: { times: 120, seconds: MINUTE },
  link_attempt: { times: 10, seconds: MINUTE },
  sign_in_address: { times: 60, seconds: 15 * MINUTE },
  guess: { times: 10, seconds: 15 * MINUTE },
  guess_account: { times: 100, seconds: 15 * MINUTE },
  guess_known_browser: { times: 20, seconds: 15 * MINUTE },
  guess_signed_in: { times: 10, seconds: 15 * MINUTE },
  sign_up_address: { times: 20, seconds: HOUR },
  redirect_look: { times: 60, seconds: MINUTE },
  redirect_looks: { times: 600, seconds: MINUTE },
  sent_by_ring: { times: 20, seconds: HOUR },
  new_email: { times: 20, seconds: HOUR },
  live_view: { times: 20, seconds: MINUTE },
  picture: { times: 20, seconds: MINUTE },
  clip: { times: 60, seconds: MINUTE },
  download: { times: 10, seconds: HOUR },
} as const satisfies Record<string, Rate>;

export type RateName = keyof typeof RATES;

/** A /48 may do so many times as much as one network: it may be one site, or the telephones of a carrier. */
export const AROUND = 10;

/** For how long a network is remembered whose code Ring has taken, in seconds. */
const PROVEN_SECONDS = 30 * 24 * HOUR;

export interface RateLimit {
  /** Counts one attempt. @throws {HttpError} 429 when there were too many */
  consume(key: string): Promise<void>;
  /** Counts one attempt. @returns false when there were too many */
  take(key: string): Promise<boolean>;
  /** Takes an attempt back that was counted and could not be made. */
  giveBack(key: string): Promise<void>;
  /** Sets the count back to 0. */
  reset(key: string): Promise<void>;
}

/** Counts a network, and more loosely the /48 around it. */
export interface NetworkLimit {
  /** @param what is counted apart from all else, such as an account. @throws {HttpError} 429 */
  consume(network: Network, what?: string): Promise<void>;
  /** As `consume`. @returns false when there were too many; then the attempt is not counted */
  take(network: Network, what?: string): Promise<boolean>;
  giveBack(network: Network, what?: string): Promise<void>;
  /** Sets the network's count back to 0, and takes one attempt of the /48 back. */
  reset(network: Network, what?: string): Promise<void>;
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
 * The rate limits, counted in Postgres so that instances count together. Keys are hashed, so that the table is no list of
 * addresses and e-mails.
 */
export function createRateLimits({ pool, callback, scale }: RateLimitsOptions) {
  const ofPages: Connections = { storeClient: pool, storeType: 'pool' };
  const ofRing: Connections = { storeClient: callback, storeType: 'knex' };
  const counter = (keyPrefix: string, { times, seconds }: Rate, connections: Connections = ofPages) =>
    new RateLimiterPostgres({
      ...connections,
      tableName: 'rate_limits',
      tableCreated: true,
      keyPrefix,
      points: Math.max(1, Math.round(times * scale)),
      duration: seconds,
    });

  const limitOf = (name: string, rate: Rate, connections: Connections = ofPages): RateLimit => {
    const limiter = counter(name, rate, connections);
    /** @returns 0 when the attempt was counted, or the seconds until it may be made */
    async function count(hashed: string, mayRetry = true): Promise<number> {
      try {
        await limiter.consume(hashed);
        return 0;
      } catch (error) {
        if (!(error instanceof RateLimiterRes)) throw error;
        const wait = Math.ceil(error.msBeforeNext / 1_000);
        // A wait this long was set by a wrong clock, and would keep its owner out until then.
        if (wait <= 2 * rate.seconds || !mayRetry) return wait;
        await limiter.delete(hashed);
        return count(hashed, false);
      }
    }
    return {
      async consume(key) {
        const wait = await count(hash(key));
        if (wait > 0) throw tooManyRequests(wait);
      },
      async take(key) {
        return (await count(hash(key))) === 0;
      },
      async giveBack(key) {
        await limiter.reward(hash(key));
      },
      async reset(key) {
        await limiter.delete(hash(key));
      },
    };
  };
  const limit = (name: RateName, connections: Connections = ofPages): RateLimit =>
    limitOf(name, RATES[name], connections);

  const networkLimit = (name: RateName, connections: Connections = ofPages): NetworkLimit => {
    const own = limit(name, connections);
    const { times, seconds } = RATES[name];
    const around = limitOf(`${name}_around`, { times: times * AROUND, seconds }, connections);
    const keysOf = (network: Network, what = '') => ({
      own: `${network.own} ${what}`,
      around: network.around === undefined ? undefined : `${network.around} ${what}`,
    });
    return {
      async consume(network, what) {
        const keys = keysOf(network, what);
        // First the network itself: what it is refused must not use up what its neighbours have.
        await own.consume(keys.own);
        if (keys.around !== undefined) await around.consume(keys.around);
      },
      async take(network, what) {
        const keys = keysOf(network, what);
        const isOwn = await own.take(keys.own);
        if (isOwn && (keys.around === undefined || (await around.take(keys.around)))) return true;
        await own.giveBack(keys.own);
        if (isOwn && keys.around !== undefined) await around.giveBack(keys.around);
        return false;
      },
      async giveBack(network, what) {
        const keys = keysOf(network, what);
        await own.giveBack(keys.own);
        if (keys.around !== undefined) await around.giveBack(keys.around);
      },
      async reset(network, what) {
        const keys = keysOf(network, what);
        await own.reset(keys.own);
        if (keys.around !== undefined) await around.giveBack(keys.around);
      },
    };
  };

  const proven = counter('proven', { times: 1, seconds: PROVEN_SECONDS }, ofRing);
  return {
    /** Attempts to deliver a code. High, because Ring calls from few addresses for all of its users. */
    tokenExchange: networkLimit('token_exchange', ofRing),
    /** Codes that Ring has refused, of networks that are not proven, and of those that are. */
    refusedCode: networkLimit('refused_code', ofRing),
    refusedCodeOfRing: networkLimit('refused_code_of_ring', ofRing),
    /** Codes of networks that are not proven, all together. */
    unprovenCodes: limit('unproven_codes', ofRing),
    /** The networks whose codes Ring has taken: Ring's own, for nobody else has codes of Ring's. */
    proven: {
      async has({ own }: Network): Promise<boolean> {
        return (await proven.get(hash(own))) !== null;
      },
      async add({ own }: Network): Promise<void> {
        await proven.set(hash(own), 1, PROVEN_SECONDS);
      },
    },
    visit: networkLimit('visit'),
    linkAttempt: limit('link_attempt'),
    signInAddress: networkLimit('sign_in_address'),
    /** Guesses of an account's password: from one network, from all, in browsers that the account knows, in a session. */
    guess: networkLimit('guess'),
    guessAccount: limit('guess_account'),
    guessKnownBrowser: limit('guess_known_browser'),
    guessSignedIn: limit('guess_signed_in'),
    signUpAddress: networkLimit('sign_up_address'),
    /** Looks whether Ring has sent a visitor, from one network and from all. */
    redirectLook: networkLimit('redirect_look'),
    redirectLooks: limit('redirect_looks'),
    /** What visitors whom Ring has sent may do beyond the limits of their network, for each Ring account. */
    sentByRing: limit('sent_by_ring'),
    newEmail: limit('new_email'),
    liveView: limit('live_view'),
    picture: limit('picture'),
    clip: limit('clip'),
    download: limit('download'),
  };
}

/** Whether somebody whom a limit would turn away is welcome all the same. */
export type IsWelcome = (request: Request) => Promise<boolean>;

/** Limits a route by the caller's network. */
export function limitNetwork(limit: NetworkLimit, isWelcome?: IsWelcome): RequestHandler {
  return async (request, _response, next) => {
    await unlessWelcome(request, isWelcome, () => limit.consume(networkOf(request.ip)));
    next();
  };
}

/**
 * Limits a route by the caller: whoever is signed in, or comes with a browser that an account knows, is counted alone, and
 * everybody else by network. So strangers behind the same address use up nothing of a user's.
 */
export function limitCaller(limit: NetworkLimit, isWelcome?: IsWelcome): RequestHandler {
  return async (request, _response, next) => {
    const own = callerOf(request);
    if (own !== undefined) await limit.consume({ own, around: undefined });
    else await unlessWelcome(request, isWelcome, () => limit.consume(networkOf(request.ip)));
    next();
  };
}

function callerOf({ user, knownBrowser }: Request): string | undefined {
  if (user !== undefined) return `user ${user.id}`;
  return knownBrowser === undefined ? undefined : `browser ${knownBrowser}`;
}

/** Counts one attempt. @throws {HttpError} 429 when there were too many, and the caller is not welcome either */
export async function unlessWelcome(
  request: Request,
  isWelcome: IsWelcome | undefined,
  consume: () => Promise<void>,
): Promise<void> {
  try {
    await consume();
  } catch (error) {
    const isOver = error instanceof HttpError && error.status === 429;
    // Asked only now, because the answer costs more than most requests do.
    if (!isOver || isWelcome === undefined || !(await isWelcome(request))) throw error;
  }
}

const hash = (key: string): string => createHash('sha256').update(key).digest('base64url');
