import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { rows, sql } from '../database/sql.js';
import type { Clock } from '../time/clock.js';
import { within } from '../time/within.js';
import type { AccessTokens } from './access-tokens.js';
import { NoLinkError, NotRefreshedError } from './errors.js';
import { requireReauthorization } from './pair-and-link.js';
import { markAbandonedPairs, queueDuePairs, type SeenPair, unqueuePairs } from './pair-rows.js';
import type { CallBudget } from './call-budget.js';

export interface BackgroundRefreshDependencies {
  db: Knex;
  tokens: Pick<AccessTokens, 'refresh'>;
  budget: CallBudget;
  clock: Clock;
  log: Logger;
  isStopping: () => boolean;
}

/** About how long Ring lets a refresh token live. */
const LIFETIME_DAYS = 30;
/** How many pairs are refreshed at a time. Each costs a call to Ring and three statements. */
const WORKERS = 10;
const BATCH = 100;
/** A refresh that takes longer is storing Ring's answer. It goes on by itself, and its worker takes the next pair. */
const PATIENCE_MS = 30_000;
/** The pause when Ring answers "too many requests" without saying for how long. */
const DEFAULT_PAUSE_SECONDS = 5;
/**
 * So many refusals in a row are no coincidence. Each costs a user's link, so this pass stops, and the next ones go on slowly
 * until an operator has looked.
 */
const MOST_REFUSALS = 10;

/**
 * Refreshes every pair whose last refresh is over a day ago, so that no refresh token reaches its end unused, and every pair
 * whose last refresh failed, so that we learn what has become of it before its user does. Runs on every instance at once:
 * each takes pairs that no other has taken, and all together keep within their share of Ring's request limit.
 */
export async function refreshInBackground(dependencies: BackgroundRefreshDependencies): Promise<void> {
  await noteAbandoned(dependencies);
  await giveUpExpired(dependencies);
  const pairs = duePairs(dependencies);
  const refusals = { inARow: 0 };
  // A worker that stops early ends the iteration for all.
  await Promise.all(Array.from({ length: WORKERS }, () => refreshEach(dependencies, pairs, refusals)));
}

async function refreshEach(
  dependencies: BackgroundRefreshDependencies,
  pairs: AsyncIterable<SeenPair>,
  refusals: { inARow: number },
): Promise<void> {
  const { db, budget, log } = dependencies;
  for await (const pair of pairs) {
    if (!(await budget.take())) {
      await unqueuePairs(db, [pair]);
      return;
    }
    refusals.inARow = (await refreshOne(dependencies, pair)) === 'refused' ? refusals.inARow + 1 : 0;
    if (refusals.inARow === MOST_REFUSALS) log.error('Ring refuses one refresh token after the other; going on slowly');
    if (refusals.inARow >= MOST_REFUSALS) return;
  }
}

/** Refreshes one pair. The outcome is in its row, and a failure does not stop the others. */
async function refreshOne(
  { tokens, budget, log }: BackgroundRefreshDependencies,
  pair: SeenPair,
): Promise<'refused' | undefined> {
  try {
    await within(PATIENCE_MS, tokens.refresh(pair));
    return undefined;
  } catch (error) {
    if (error instanceof NoLinkError) return error.cause === undefined ? undefined : 'refused';
    if (!(error instanceof NotRefreshedError)) {
      log.error({ err: error, tokenId: pair.id }, 'a token pair could not be refreshed');
      return undefined;
    }
    const { ringsAnswer } = error;
    if (ringsAnswer?.kind === 'rate-limited')
      await budget.pause(ringsAnswer.retryAfterSeconds ?? DEFAULT_PAUSE_SECONDS);
    return undefined;
  }
}

/** The due pairs, batch after batch. Pairs that no worker asks for any more are left to the next pass. */
async function* duePairs({ db, clock, isStopping }: BackgroundRefreshDependencies): AsyncGenerator<SeenPair> {
  let batch: SeenPair[] = [];
  try {
    while (!isStopping()) {
      batch = await queueDuePairs(db, BATCH, clock());
      if (batch.length === 0) return;
      for (let pair = batch.shift(); pair !== undefined; pair = batch.shift()) yield pair;
    }
  } finally {
    await unqueuePairs(db, batch);
  }
}

async function noteAbandoned({ db, log }: BackgroundRefreshDependencies): Promise<void> {
  const abandoned = await markAbandonedPairs(db);
  for (const { id } of abandoned) log.error({ tokenId: id }, 'a process died while it refreshed a token pair');
}

/**
 * Ends pairs whose refresh token is dead by its age. Their users have to link again. That can't be undone, so the clocks of
 * this machine and of Postgres have to agree that it is time.
 */
async function giveUpExpired({ db, clock, log }: BackgroundRefreshDependencies): Promise<void> {
  const expired = await rows<SeenPair>(
    db,
    sql`SELECT id, generation FROM ring_tokens
         WHERE status = 'CLAIMED'
           AND coalesce(refreshed_at, created_at)
               < least(${clock()}::timestamptz, now()) - ${LIFETIME_DAYS} * interval '1 day'`,
  );
  for (const pair of expired) {
    try {
      await requireReauthorization({ db, clock }, pair, 'refresh token expired');
      log.error({ tokenId: pair.id }, 'a refresh token has died of age');
    } catch (error) {
      log.error({ err: error, tokenId: pair.id }, 'a link with a dead refresh token is not ended; trying again later');
    }
  }
}
