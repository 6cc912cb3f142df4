import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { RingClient, TokenGrant } from '../ring/client.js';
import { RingError } from '../ring/errors.js';
import { NoLinkError, NotRefreshedError } from './errors.js';
import { insist } from '../time/insist.js';
import {
  findPair,
  type PairDependencies,
  recordFailure,
  replacePair,
  requireReauthorization,
  type SeenPair,
  takePair,
  type TakenPair,
} from './refresh-rows.js';
import { openRefreshToken } from './token-pairs.js';

export interface RefreshDependencies extends PairDependencies {
  ring: RingClient;
  log: Logger;
  /** Hears what came of each refresh that Ring was asked for. */
  onRefresh: (outcome: RefreshOutcome) => void;
}

/** `REFUSED`: the pair is dead; `LINK_ENDED`: nobody needed the new pair any more; `UNCERTAIN`, `FAILING`: see the row. */
export const REFRESH_OUTCOMES = ['REFRESHED', 'REFUSED', 'LINK_ENDED', 'UNCERTAIN', 'FAILING'] as const;
export type RefreshOutcome = (typeof REFRESH_OUTCOMES)[number];

export type Refresh = (pair: SeenPair) => Promise<void>;

/** How long one waits for another instance that is refreshing the same pair. */
const WAIT_FOR_OTHER_MS = 12_000;
const WAIT_STEP_MS = 100;

/**
 * Replaces token pairs, each by one call to Ring however many ask for it: within this process they share the call, and
 * across instances the row says who is at it.
 *
 * `refresh` resolves when the pair that was seen is replaced. It throws {@link NotRefreshedError} when it could not be and
 * is to be tried later, {@link NoLinkError} when Ring has said that it is dead, and {@link VaultError} when it can't be
 * opened. `settled` waits for those under way.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export function createRefresh(dependencies: RefreshDependencies): {
  refresh: Refresh;
  settled: () => Promise<void>;
} {
  const underWay = new Map<string, Promise<void>>();
  return {
    refresh(pair) {
      const key = `${pair.id}/${pair.generation}`;
      const already = underWay.get(key);
      if (already !== undefined) return already;
      const refreshing = refreshOnce(dependencies, pair).finally(() => underWay.delete(key));
      underWay.set(key, refreshing);
      return refreshing;
    },
    async settled() {
      await Promise.allSettled(underWay.values());
    },
  };
}

/** Refreshes the pair, or waits for the instance that does. */
async function refreshOnce(dependencies: RefreshDependencies, pair: SeenPair): Promise<void> {
  const giveUpAt = performance.now() + WAIT_FOR_OTHER_MS;
  do {
    const taken = await takePair(dependencies, pair);
    if (taken !== undefined) {
      await askRing(dependencies, pair, taken);
      return;
    }
    const present = await findPair(dependencies, pair.id);
    if (present?.status !== 'CLAIMED') throw new NoLinkError('the link has ended');
    if (present.generation !== pair.generation) return;
    if (present.pauseMs > 0) throw new NotRefreshedError(present.pauseMs);
    await delay(WAIT_STEP_MS);
  } while (performance.now() < giveUpAt);
  throw new NotRefreshedError(WAIT_STEP_MS);
}

async function askRing(dependencies: RefreshDependencies, pair: SeenPair, taken: TakenPair): Promise<void> {
  const { ring, log, onRefresh } = dependencies;
  let grant: TokenGrant;
  try {
    grant = await ring.refreshTokens(await openTaken(dependencies, pair, taken));
  } catch (error) {
    if (!(error instanceof RingError)) throw error;
    log.warn({ err: error, tokenId: pair.id }, 'a token pair is not refreshed');
    if (isDead(error)) {
      onRefresh('REFUSED');
      await requireReauthorization(dependencies, pair, error.reason);
      throw new NoLinkError('Ring takes the refresh token no more', { cause: error });
    }
    // Without a clear answer, Ring may have replaced the token all the same.
    const state = error.mayHaveActed ? 'UNCERTAIN' : 'FAILING';
    onRefresh(state);
    const { reason, retryAfterSeconds } = error;
    const pauseMs = await recordFailure(dependencies, pair, taken, { state, reason, retryAfterSeconds });
    throw new NotRefreshedError(pauseMs, error);
  }
  await storeInsistently(dependencies, pair, grant);
}

/** @throws {VaultError} which is ours to put right, so the pair is tried again later */
async function openTaken(dependencies: RefreshDependencies, pair: SeenPair, taken: TakenPair): Promise<string> {
  try {
    return openRefreshToken(dependencies.vault, pair.id, taken);
  } catch (error) {
    await recordFailure(dependencies, pair, taken, { state: 'FAILING', reason: 'internal' });
    throw error;
  }
}

/** Ring's no to the refresh token itself. Whatever a 5xx quotes is not final. */
function isDead({ code, kind }: RingError): boolean {
  return code === 'invalid_grant' && (kind === 'rejected' || kind === 'unauthorized');
}

/**
 * From Ring's answer on the old refresh token is dead, and the new one exists in this process and nowhere else: nothing
 * comes before writing it down, and nothing short of the end of the process keeps us from trying.
 */
async function storeInsistently(dependencies: RefreshDependencies, pair: SeenPair, grant: TokenGrant): Promise<void> {
  const { clock, log, onRefresh } = dependencies;
  const answeredAt = clock();
  await insist(
    () => replacePair(dependencies, pair, grant, answeredAt),
    (error) => {
      if (error instanceof NoLinkError) {
        onRefresh('LINK_ENDED');
        throw error;
      }
      log.error({ err: error, tokenId: pair.id }, 'a new token pair is not stored; trying again');
    },
  );
  onRefresh('REFRESHED');
}
