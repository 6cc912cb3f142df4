import type { Knex } from 'knex';
import type { Logger } from 'pino';
import type { Clock } from '../time/clock.js';
import { rows } from '../database/database.js';
import { IS_CALLABLE } from '../ring-accounts/link-conditions.js';
import { within } from '../time/within.js';
import type { AccessTokens } from './access-tokens.js';
import { NoLinkError, NotRefreshedError } from './errors.js';
import type { RefreshBudget } from './refresh-budget.js';
import { ABANDONED_AFTER_SECONDS, MAX_PAUSE_MS, requireReauthorization, type SeenPair } from './refresh-rows.js';

export interface BackgroundRefreshDependencies {
  db: Knex;
  tokens: Pick<AccessTokens, 'refresh'>;
  budget: RefreshBudget;
  clock: Clock;
  log: Logger;
  isStopping: () => boolean;
}

const REFRESH_AFTER_MS = 24 * 60 * 60_000;
/** Ring lets a refresh token live about so long. */
const LIFETIME_DAYS = 30;
/** At a time; each costs a call to Ring and three statements. */
const WORKERS = 10;
const BATCH = 100;
/** Long enough for a batch at the slowest. */
const QUEUED_FOR_MS = 5 * 60_000;
/** Whoever takes longer is storing Ring's answer, and goes on by itself; the others should not have to wait for that. */
const PATIENCE_MS = 30_000;
/** When Ring says "too many" without saying for how long. */
const DEFAULT_PAUSE_SECONDS = 5;
/** So many in a row are no coincidence. Each costs a user's link, so it goes on slowly, until somebody has looked. */
const MOST_REFUSALS = 10;

/**
 * Refreshes every pair whose last refresh is over a day ago, so that no refresh token ages towards its end unused, and
 * every one whose last refresh failed, so that it does not take a user to learn what has become of it. Runs on
 * every instance at once: each takes pairs that no other has taken, and all together keep within their share of Ring's
 * request limit.
 */
export async function refreshInBackground(dependencies: BackgroundRefreshDependencies): Promise<void> {
  await noteAbandoned(dependencies);
  await giveUpExpired(dependencies);
  const pairs = duePairs(dependencies);
  const refusals = { inARow: 0 };
  // Whoever stops early ends the iteration for all.
  await Promise.all(Array.from({ length: WORKERS }, () => refreshEach(dependencies, pairs, refusals)));
}

async function refreshEach(
  dependencies: BackgroundRefreshDependencies,
  pairs: AsyncIterable<SeenPair>,
  refusals: { inARow: number },
): Promise<void> {
  const { budget, log } = dependencies;
  for await (const pair of pairs) {
    if (!(await budget.take())) {
      await putBack(dependencies, [pair]);
      return;
    }
    refusals.inARow = (await refreshOne(dependencies, pair)) === 'refused' ? refusals.inARow + 1 : 0;
    if (refusals.inARow === MOST_REFUSALS) log.error('Ring refuses one refresh token after the other; going on slowly');
    if (refusals.inARow >= MOST_REFUSALS) return;
  }
}

async function refreshOne(
  { tokens, budget, log }: BackgroundRefreshDependencies,
  pair: SeenPair,
): Promise<'refused' | undefined> {
  try {
    await within(PATIENCE_MS, tokens.refresh(pair));
    return undefined;
  } catch (error) {
    // What came of it is in the row, and one pair's failure is none of the others'.
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

/** Takes what is due, batch after batch. What is not asked for any more is left to the next pass. */
async function* duePairs(dependencies: BackgroundRefreshDependencies): AsyncGenerator<SeenPair> {
  let batch: SeenPair[] = [];
  try {
    while (!dependencies.isStopping()) {
      batch = await takeDue(dependencies);
      if (batch.length === 0) return;
      for (let pair = batch.shift(); pair !== undefined; pair = batch.shift()) yield pair;
    }
  } finally {
    await putBack(dependencies, batch);
  }
}

/** A time that no clock of today can have set was set by one that went wrong, and does not count. */
function takeDue({ db, clock }: BackgroundRefreshDependencies): Promise<SeenPair[]> {
  const now = clock();
  const after = (ms: number) => new Date(now.getTime() + ms);
  return rows<SeenPair>(
    db,
    `UPDATE ring_tokens SET refresh_queued_until = ?
      WHERE id IN (
        SELECT token.id FROM ring_tokens token
         WHERE token.status = 'CLAIMED'
           AND (coalesce(token.refreshed_at, token.created_at) < ? OR coalesce(token.refreshed_at, token.created_at) > ?
                OR token.refresh_state IN ('UNCERTAIN', 'FAILING'))
           AND (token.refresh_after > ? AND token.refresh_after <= ?) IS NOT TRUE
           AND (token.refresh_queued_until > ? AND token.refresh_queued_until <= ?) IS NOT TRUE
           AND EXISTS (SELECT 1 FROM account_links link WHERE link.token_id = token.id AND link.${IS_CALLABLE})
         ORDER BY coalesce(token.refreshed_at, token.created_at) LIMIT ? FOR UPDATE SKIP LOCKED)
     RETURNING id, generation`,
    [
      after(QUEUED_FOR_MS),
      after(-REFRESH_AFTER_MS),
      after(REFRESH_AFTER_MS),
      now,
      after(MAX_PAUSE_MS),
      now,
      after(QUEUED_FOR_MS),
      BATCH,
    ],
  );
}

async function putBack({ db }: BackgroundRefreshDependencies, pairs: readonly SeenPair[]): Promise<void> {
  if (pairs.length === 0) return;
  await db.raw('UPDATE ring_tokens SET refresh_queued_until = NULL WHERE id = ANY (?::uuid[])', [
    pairs.map(({ id }) => id),
  ]);
}

/** Whoever was refreshing these has died, and nobody knows whether Ring has replaced the token. They are tried again. */
async function noteAbandoned({ db, log }: BackgroundRefreshDependencies): Promise<void> {
  const abandoned = await rows<{ id: string }>(
    db,
    `UPDATE ring_tokens SET refresh_state = 'UNCERTAIN'
      WHERE status = 'CLAIMED' AND refresh_state = 'REFRESHING' AND refresh_started_at < now() - ? * interval '1 s'
     RETURNING id`,
    [ABANDONED_AFTER_SECONDS],
  );
  for (const { id } of abandoned) log.error({ tokenId: id }, 'a process died while it refreshed a token pair');
}

/**
 * Their refresh token is dead by its age, and their users have to link again. That can't be undone, so the clock of this
 * machine and that of Postgres have to agree on it.
 */
async function giveUpExpired({ db, clock, log }: BackgroundRefreshDependencies): Promise<void> {
  const expired = await rows<SeenPair>(
    db,
    `SELECT id, generation FROM ring_tokens
      WHERE status = 'CLAIMED'
        AND coalesce(refreshed_at, created_at) < least(?::timestamptz, now()) - ? * interval '1 day'`,
    [clock(), LIFETIME_DAYS],
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
