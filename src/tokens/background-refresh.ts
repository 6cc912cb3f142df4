import type { Knex } from 'knex';
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import { rows } from '../database/database.js';
import { IS_CALLABLE } from '../database/link-conditions.js';
import type { AccessTokens } from './access-tokens.js';
import { NoLinkError, NotRefreshedError } from './errors.js';
import { ABANDONED_AFTER_SECONDS, requireReauthorization, type SeenPair } from './refresh-rows.js';
import type { RefreshBudget } from './refresh-budget.js';

export interface BackgroundRefreshDependencies {
  database: Knex;
  tokens: Pick<AccessTokens, 'refresh'>;
  budget: RefreshBudget;
  clock: Clock;
  log: Logger;
  isStopping: () => boolean;
}

const HOUR_MS = 60 * 60_000;
const REFRESH_AFTER_MS = 24 * HOUR_MS;
/** Ring lets a refresh token live about 30 days. */
const LIFETIME_MS = 30 * 24 * HOUR_MS;
/** At a time; each costs a call to Ring and three statements. */
const BATCH = 10;
/** Long enough for a batch at the slowest. */
const QUEUED_FOR_MS = 5 * 60_000;
/** When Ring says "too many" without saying for how long. */
const DEFAULT_PAUSE_SECONDS = 5;

/**
 * Refreshes every pair whose last refresh is over a day ago, so that no refresh token ages towards its end unused, and
 * every one whose last refresh failed, so that it does not take a user to learn what has become of it. Runs on
 * every instance at once: each takes pairs that no other has taken, and all together keep within their share of Ring's
 * request limit.
 */
export async function refreshInBackground(dependencies: BackgroundRefreshDependencies): Promise<void> {
  await noteAbandoned(dependencies);
  await giveUpExpired(dependencies);
  while (!dependencies.isStopping()) {
    const batch = await takeDue(dependencies);
    if (batch.length === 0) return;
    await Promise.all(batch.map((pair) => refreshOne(dependencies, pair)));
  }
}

/** Whoever was refreshing these has died, and nobody knows whether Ring has replaced the token. They are tried again. */
async function noteAbandoned({ database, log }: BackgroundRefreshDependencies): Promise<void> {
  const abandoned = await rows<{ id: string }>(
    database,
    `UPDATE ring_tokens SET refresh_state = 'UNCERTAIN'
      WHERE status = 'CLAIMED' AND refresh_state = 'REFRESHING' AND refresh_started_at < now() - ? * interval '1 s'
     RETURNING id`,
    [ABANDONED_AFTER_SECONDS],
  );
  for (const { id } of abandoned) log.error({ tokenId: id }, 'a process died while it refreshed a token pair');
}

/** Their refresh token is dead by its age: their users have to link again. */
async function giveUpExpired({ database, clock, log }: BackgroundRefreshDependencies): Promise<void> {
  const expired = await rows<SeenPair>(
    database,
    `SELECT id, generation FROM ring_tokens
      WHERE status = 'CLAIMED' AND coalesce(refreshed_at, created_at) < ?`,
    [new Date(clock().getTime() - LIFETIME_MS)],
  );
  for (const pair of expired) {
    log.error({ tokenId: pair.id }, 'a refresh token has died of age');
    await requireReauthorization({ database, clock }, pair, 'refresh token expired');
  }
}

function takeDue({ database, clock }: BackgroundRefreshDependencies): Promise<SeenPair[]> {
  const now = clock();
  return rows<SeenPair>(
    database,
    `UPDATE ring_tokens SET refresh_queued_until = ?
      WHERE id IN (
        SELECT token.id FROM ring_tokens token
         WHERE token.status = 'CLAIMED'
           AND (coalesce(token.refreshed_at, token.created_at) < ? OR token.refresh_state IN ('UNCERTAIN', 'FAILING'))
           AND (token.refresh_after IS NULL OR token.refresh_after <= ?)
           AND (token.refresh_queued_until IS NULL OR token.refresh_queued_until <= ?)
           AND EXISTS (SELECT 1 FROM account_links link WHERE link.token_id = token.id AND link.${IS_CALLABLE})
         ORDER BY coalesce(token.refreshed_at, token.created_at) LIMIT ? FOR UPDATE SKIP LOCKED)
     RETURNING id, generation`,
    [new Date(now.getTime() + QUEUED_FOR_MS), new Date(now.getTime() - REFRESH_AFTER_MS), now, now, BATCH],
  );
}

async function refreshOne({ tokens, budget, log }: BackgroundRefreshDependencies, pair: SeenPair): Promise<void> {
  try {
    if (await budget.take()) await tokens.refresh(pair);
  } catch (error) {
    // What came of it is in the row, and one pair's failure is none of the others'.
    if (error instanceof NoLinkError) return;
    if (!(error instanceof NotRefreshedError)) {
      log.error({ err: error, tokenId: pair.id }, 'a token pair could not be refreshed');
      return;
    }
    const { ringsAnswer } = error;
    if (ringsAnswer?.kind === 'rate-limited')
      await budget.pause(ringsAnswer.retryAfterSeconds ?? DEFAULT_PAUSE_SECONDS);
  }
}
