import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { row, sql } from '../database/sql.js';
import type { RingClient, TokenPair } from '../ring/client.js';
import { RingError } from '../ring/errors.js';
import { insist } from '../time/insist.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { NoLinkError, NotRefreshedError } from './errors.js';
import { type PairDependencies, requireReauthorization, storeNewPair } from './pair-and-link.js';
import {
  type FailedRefresh,
  MAX_PAUSE_MS,
  type PairRow,
  postponeRefresh,
  type SeenPair,
  takePair,
  type TakenPair,
} from './pair-rows.js';
import { openRefreshToken } from './token-pairs.js';

export interface RefreshDependencies extends PairDependencies {
  ring: RingClient;
  log: Logger;
  /** Called with the outcome of each refresh that Ring was asked for. */
  onRefresh: (outcome: RefreshOutcome) => void;
}

/**
 * `REFUSED`: the pair is dead. `LINK_ENDED`: the new pair is of no use any more. `UNCERTAIN`, `FAILING`: the pair is tried
 * again, see its row.
 */
export const REFRESH_OUTCOMES = ['REFRESHED', 'REFUSED', 'LINK_ENDED', 'UNCERTAIN', 'FAILING'] as const;
export type RefreshOutcome = (typeof REFRESH_OUTCOMES)[number];

export type Refresh = (pair: SeenPair) => Promise<void>;

/** How long a caller waits for another instance that is refreshing the same pair. */
const WAIT_FOR_OTHER_MS = 12_000;
const WAIT_STEP_MS = 100;

/**
 * Replaces token pairs, each by one call to Ring however many callers ask for it: within this process they share the call,
 * and across instances the row says who is at it.
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
  const { db, clock } = dependencies;
  const giveUpAt = performance.now() + WAIT_FOR_OTHER_MS;
  do {
    const taken = await takePair(db, pair, clock());
    if (taken !== undefined) {
      await askRing(dependencies, pair, taken);
      return;
    }
    const present = await findPair(db, pair.id);
    if (present?.status !== 'CLAIMED') throw new NoLinkError('the link has ended');
    if (present.generation !== pair.generation) return;
    const pauseMs = pauseOf(present, clock());
    if (pauseMs > 0) throw new NotRefreshedError(pauseMs);
    await delay(WAIT_STEP_MS);
  } while (performance.now() < giveUpAt);
  throw new NotRefreshedError(WAIT_STEP_MS);
}

type PresentPair = Pick<PairRow, 'status' | 'generation' | 'refresh_after'>;

function findPair(db: Knex, id: string): Promise<PresentPair | undefined> {
  return row<PresentPair>(db, sql`SELECT status, generation, refresh_after FROM ring_tokens WHERE id = ${id}`);
}

/** The rest of the pause after a failure in ms, 0 when there is none. */
function pauseOf({ refresh_after }: PresentPair, now: Date): number {
  const pauseMs = (refresh_after?.getTime() ?? 0) - now.getTime();
  return pauseMs > 0 && pauseMs <= MAX_PAUSE_MS ? pauseMs : 0;
}

async function askRing(dependencies: RefreshDependencies, pair: SeenPair, taken: TakenPair): Promise<void> {
  const { ring, log, onRefresh } = dependencies;
  let newPair: TokenPair;
  try {
    newPair = await ring.refreshTokens(await openTaken(dependencies, pair, taken));
  } catch (error) {
    if (!(error instanceof RingError)) throw error;
    log.warn({ err: error, tokenId: pair.id }, 'a token pair is not refreshed');
    if (isDead(error)) {
      onRefresh('REFUSED');
      await requireReauthorization(dependencies, pair, error.reason);
      throw new NoLinkError('Ring no longer accepts the refresh token', { cause: error });
    }
    // When no clear answer came, Ring may have replaced the pair, and we don't have the new one.
    const state = error.mayHaveActed ? 'UNCERTAIN' : 'FAILING';
    onRefresh(state);
    const { reason, retryAfterSeconds } = error;
    const pauseMs = await recordFailure(dependencies, pair, taken, { state, reason, retryAfterSeconds });
    throw new NotRefreshedError(pauseMs, error);
  }
  await storeInsistently(dependencies, pair, newPair);
}

/** @throws {VaultError} The pair is tried again later, because the operator can put the missing key right. */
async function openTaken(dependencies: RefreshDependencies, pair: SeenPair, taken: TakenPair): Promise<string> {
  try {
    return openRefreshToken(dependencies.vault, pair.id, taken);
  } catch (error) {
    await recordFailure(dependencies, pair, taken, { state: 'FAILING', reason: 'internal' });
    throw error;
  }
}

/** @returns how much later Ring may be asked again, in ms */
async function recordFailure(
  { db, clock }: RefreshDependencies,
  pair: SeenPair,
  { refresh_failures }: TakenPair,
  {
    retryAfterSeconds,
    ...failure
  }: Pick<FailedRefresh, 'state' | 'reason'> & { retryAfterSeconds?: number | undefined },
): Promise<number> {
  const failures = refresh_failures + 1;
  const pauseMs = retryPauseMs(failures, MAX_PAUSE_MS, retryAfterSeconds);
  const pausedUntil = new Date(clock().getTime() + pauseMs);
  await postponeRefresh(db, pair, { ...failure, failures, pausedUntil });
  return pauseMs;
}

/** Whether Ring refuses the refresh token itself. An answer of 5xx is not final, even with `invalid_grant` in its body. */
function isDead({ code, kind }: RingError): boolean {
  return code === 'invalid_grant' && (kind === 'rejected' || kind === 'unauthorized');
}

/**
 * Stores the new pair, and tries until it is stored. With Ring's answer the old refresh token is dead, and the new one exists
 * only in this process.
 */
async function storeInsistently(dependencies: RefreshDependencies, pair: SeenPair, newPair: TokenPair): Promise<void> {
  const { clock, log, onRefresh } = dependencies;
  const answeredAt = clock();
  await insist(
    () => storeNewPair(dependencies, pair, newPair, answeredAt),
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
