import type { Knex } from 'knex';
import { row, rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { type ReceivedEvent, TELLS_OF_INSTALLATION } from '../ring-accounts/installation.js';
import { isCallable } from '../ring-accounts/link-conditions.js';
import type { SealedPair } from './token-pairs.js';

/**
 * A pair's row. All its transitions stand in this file. A pair is `RECEIVED` from Ring, and `UNCLAIMED` once its Ring account
 * is known. Then its user claims it: `CLAIMED`. It ends `EXPIRED` when it is not claimed in time or a newer one has come, and
 * `REVOKED` when Ring or its link has ended it.
 */
export type PairRow = Tables['ring_tokens'];

/** A pair as its caller has read it: a pair that has replaced it since has another generation. */
export type SeenPair = Pick<PairRow, 'id' | 'generation'>;

/** The columns that a refresh needs. */
export type TakenPair = Pick<SealedPair, 'key_id' | 'refresh_token_ciphertext'> & Pick<PairRow, 'refresh_failures'>;

export const REFRESH_STATES = [
  'FINE',
  'REFRESHING',
  'UNCERTAIN',
  'FAILING',
] as const satisfies readonly PairRow['refresh_state'][];

/** Longer than a call to Ring and the first attempts to store its answer. A refresh that takes longer has died. */
const ABANDONED_AFTER_SECONDS = 45;
/** The longest pause after a failed refresh. A time further off was set by a wrong clock, and is ignored. */
export const MAX_PAUSE_MS = 60 * 60_000;
/** A pair is due for a background refresh a day after its last refresh. */
const REFRESH_AFTER_MS = 24 * 60 * 60_000;
/** Longer than the slowest batch of background refreshes. */
const QUEUED_FOR_MS = 5 * 60_000;
/** Limits how many rows one statement locks. */
const EXPIRY_BATCH = 1_000;

/** SQL: the row loses its tokens. It stays, to show that there was a pair. */
const ERASE = sql`key_id = NULL, access_token_ciphertext = NULL, refresh_token_ciphertext = NULL`;
const BECOMES = {
  UNCLAIMED: sql`status = 'UNCLAIMED'`,
  EXPIRED: sql`status = 'EXPIRED', ${ERASE}`,
  REVOKED: sql`status = 'REVOKED', ${ERASE}`,
};

type ReceivedPair = SealedPair &
  Pick<PairRow, 'id' | 'scope' | 'access_token_expires_at' | 'created_at' | 'installed_since'>;

/**
 * Stores a pair that Ring has given us. A second attempt with the same ID changes nothing. The default of `arrival` is the
 * pair's place in the order of arrival.
 */
export async function storePair(trx: Knex.Transaction, pair: ReceivedPair): Promise<void> {
  await trx('ring_tokens')
    .insert({
      id: pair.id,
      status: 'RECEIVED',
      key_id: pair.key_id,
      access_token_ciphertext: pair.access_token_ciphertext,
      refresh_token_ciphertext: pair.refresh_token_ciphertext,
      scope: pair.scope,
      access_token_expires_at: pair.access_token_expires_at,
      created_at: pair.created_at,
      installed_since: pair.installed_since,
    })
    .onConflict('id')
    .ignore();
}

/** Notes whose a received pair is: it enters the pool, or ends at once. The last step of its transaction. */
export async function identifyPair(
  trx: Knex.Transaction,
  id: PairRow['id'],
  accountId: string,
  status: keyof typeof BECOMES,
): Promise<void> {
  // Until this transaction has ended, no other pair gets a place. So who sees a pair in the pool has seen all that have
  // lower places: in the order of a sequence alone, the earlier of two may become visible later.
  if (status === 'UNCLAIMED')
    await run(trx, sql`SELECT pg_advisory_xact_lock(hashtextextended('ring_tokens_pool', 2))`);
  const place = status === 'UNCLAIMED' ? sql`nextval('webhook_events_id_seq')` : sql`NULL`;
  await run(
    trx,
    sql`UPDATE ring_tokens SET ${BECOMES[status]}, account_id = ${accountId}, pool_place = ${place}
         WHERE id = ${id} AND status = 'RECEIVED'`,
  );
}

/** Takes the account's pairs that are not newer out of the pool. */
export async function expireOlderPairs(
  trx: Knex.Transaction,
  accountId: string,
  arrival: PairRow['arrival'],
): Promise<void> {
  await run(
    trx,
    sql`UPDATE ring_tokens SET ${BECOMES.EXPIRED}
         WHERE account_id = ${accountId} AND status = 'UNCLAIMED' AND arrival <= ${arrival}`,
  );
}

/**
 * Claims the account's pair in the pool.
 *
 * @param installedAt a time by Ring's clock at which the app was installed
 * @returns undefined when there is none (any more)
 */
export async function claimPair(
  trx: Knex.Transaction,
  accountId: string,
  installedAt: Date,
  now: Date,
): Promise<PairRow['id'] | undefined> {
  const claimed = await row<Pick<PairRow, 'id'>>(
    trx,
    sql`UPDATE ring_tokens
           SET status = 'CLAIMED', claimed_at = ${now}, installed_since = greatest(installed_since, ${installedAt})
         WHERE account_id = ${accountId} AND status = 'UNCLAIMED' RETURNING id`,
  );
  return claimed?.id;
}

/** Ends the pair of a link that has ended or got a newer one. */
export async function revokePair(trx: Knex.Transaction, id: PairRow['id']): Promise<void> {
  await run(trx, sql`UPDATE ring_tokens SET ${BECOMES.REVOKED} WHERE id = ${id}`);
}

/** Ends the account's pair in the pool, if the event that its app was removed tells of the pair's installation. */
export async function revokeUnclaimedPair(
  trx: Knex.Transaction,
  { accountId, requestId }: ReceivedEvent,
): Promise<void> {
  await run(
    trx,
    sql`UPDATE ring_tokens AS token SET ${BECOMES.REVOKED}
          FROM webhook_events AS event
         WHERE token.account_id = ${accountId} AND token.status = 'UNCLAIMED'
           AND event.request_id = ${requestId} AND ${TELLS_OF_INSTALLATION}`,
  );
}

/** Ends a claimed pair that is dead. @param generation undefined: whichever is there. @returns whether it was there */
export async function revokeDeadPair(
  trx: Knex.Transaction,
  { id, generation }: Pick<SeenPair, 'id'> & Partial<SeenPair>,
  reason: string,
): Promise<boolean> {
  const revoked = await run(
    trx,
    sql`UPDATE ring_tokens
           SET ${BECOMES.REVOKED}, refresh_state = 'FINE', refresh_started_at = NULL, refresh_error = ${reason}
         WHERE id = ${id} AND (generation = ${generation ?? null}) IS NOT FALSE AND status = 'CLAIMED'`,
  );
  return revoked > 0;
}

/** SQL: each status stands in the text, because a partial index serves only a query that is known to fit it. */
const WAITS = { RECEIVED: sql`status = 'RECEIVED'`, UNCLAIMED: sql`status = 'UNCLAIMED'` };

/**
 * Expires pairs that have waited for too long, in batches. A pair whose claim is under way is locked by it and skipped.
 * Instances that run this at once skip each other's rows.
 *
 * @returns how many
 */
export async function expirePairs(db: Knex, status: keyof typeof WAITS, createdBefore: Date): Promise<number> {
  let expired = 0;
  for (;;) {
    const batch = await run(
      db,
      sql`UPDATE ring_tokens SET ${BECOMES.EXPIRED}
           WHERE id IN (SELECT id FROM ring_tokens
                         WHERE ${WAITS[status]} AND created_at < ${createdBefore}
                         LIMIT ${EXPIRY_BATCH} FOR UPDATE SKIP LOCKED)`,
    );
    expired += batch;
    if (batch < EXPIRY_BATCH) return expired;
  }
}

export async function purgeExpiredPairsBefore(db: Knex, createdBefore: Date): Promise<void> {
  await run(db, sql`DELETE FROM ring_tokens WHERE status = 'EXPIRED' AND created_at < ${createdBefore}`);
}

/** Erases the pairs of Ring accounts that have no link. An unclaimed one is of a later installation, and expires by itself. */
export async function erasePairsWithoutLink(trx: Knex.Transaction, accountIds: readonly string[]): Promise<void> {
  await run(
    trx,
    sql`DELETE FROM ring_tokens AS token
         WHERE account_id = ANY (${accountIds}::text[]) AND status IN ('CLAIMED', 'EXPIRED', 'REVOKED')
           AND NOT EXISTS (SELECT 1 FROM account_links WHERE token_id = token.id)`,
  );
}

/**
 * Takes the pair for a refresh. Committed before Ring is called: if the process dies before the answer is stored, the row
 * still says that a refresh was under way.
 *
 * @returns undefined when another instance is refreshing it, the pause after a failure is not over, or the pair is not the
 *   one that was seen
 */
export function takePair(db: Knex, { id, generation }: SeenPair, now: Date): Promise<TakenPair | undefined> {
  const latestPause = new Date(now.getTime() + MAX_PAUSE_MS);
  return row<TakenPair>(
    db,
    sql`UPDATE ring_tokens SET refresh_state = 'REFRESHING', refresh_started_at = now()
         WHERE id = ${id} AND generation = ${generation} AND status = 'CLAIMED'
           AND (refresh_state <> 'REFRESHING' OR refresh_started_at < now() - ${ABANDONED_AFTER_SECONDS} * interval '1 s')
           AND (refresh_after > ${now} AND refresh_after <= ${latestPause}) IS NOT TRUE
        RETURNING key_id, refresh_token_ciphertext, refresh_failures`,
  );
}

type Replacement = SealedPair & Pick<PairRow, 'scope' | 'access_token_expires_at'> & { refreshed_at: Date };

/**
 * Puts a new pair in the place of the one that was seen, and ends its refresh. A pair that was revoked as dead meanwhile lives
 * again with the new tokens, so the caller must know that its link still needs it.
 *
 * @returns false when the pair is of another generation, because it was replaced already
 */
export async function replacePair(
  trx: Knex.Transaction,
  { id, generation }: SeenPair,
  pair: Replacement,
): Promise<boolean> {
  const replaced = await run(
    trx,
    sql`UPDATE ring_tokens
           SET status = 'CLAIMED', generation = generation + 1,
               key_id = ${pair.key_id},
               access_token_ciphertext = ${pair.access_token_ciphertext},
               refresh_token_ciphertext = ${pair.refresh_token_ciphertext},
               scope = ${pair.scope}, access_token_expires_at = ${pair.access_token_expires_at},
               refreshed_at = ${pair.refreshed_at}, refresh_state = 'FINE', refresh_started_at = NULL,
               refresh_failures = 0, refresh_error = NULL, refresh_after = NULL
         WHERE id = ${id} AND generation = ${generation}`,
  );
  return replaced > 0;
}

export interface FailedRefresh {
  state: Extract<PairRow['refresh_state'], 'UNCERTAIN' | 'FAILING'>;
  /** One of our words, never free text. */
  reason: string;
  /** How many have failed in a row, this one included. */
  failures: number;
  /** Until when Ring is not asked again. */
  pausedUntil: Date;
}

/** Keeps the pair after a failed refresh: Ring may be asked again with it. */
export async function postponeRefresh(db: Knex, { id, generation }: SeenPair, failed: FailedRefresh): Promise<void> {
  await run(
    db,
    sql`UPDATE ring_tokens
           SET refresh_state = ${failed.state}, refresh_started_at = NULL, refresh_error = ${failed.reason},
               refresh_failures = ${failed.failures}, refresh_after = ${failed.pausedUntil}
         WHERE id = ${id} AND generation = ${generation} AND status = 'CLAIMED'`,
  );
}

/**
 * Queues pairs for a background refresh, the oldest first: those that were last refreshed over a day ago, and those whose
 * last refresh has failed. Times that no right clock can have set are ignored. Other instances skip these pairs for a while.
 */
export function queueDuePairs(db: Knex, limit: number, now: Date): Promise<SeenPair[]> {
  const after = (ms: number) => new Date(now.getTime() + ms);
  return rows<SeenPair>(
    db,
    sql`UPDATE ring_tokens SET refresh_queued_until = ${after(QUEUED_FOR_MS)}
         WHERE id IN (
           SELECT token.id FROM ring_tokens AS token
            WHERE token.status = 'CLAIMED'
              AND (coalesce(token.refreshed_at, token.created_at) < ${after(-REFRESH_AFTER_MS)}
                   OR coalesce(token.refreshed_at, token.created_at) > ${after(REFRESH_AFTER_MS)}
                   OR token.refresh_state IN ('UNCERTAIN', 'FAILING'))
              AND (token.refresh_after > ${now} AND token.refresh_after <= ${after(MAX_PAUSE_MS)}) IS NOT TRUE
              AND (token.refresh_queued_until > ${now} AND token.refresh_queued_until <= ${after(QUEUED_FOR_MS)})
                  IS NOT TRUE
              AND EXISTS (SELECT 1 FROM account_links AS link WHERE link.token_id = token.id AND ${isCallable('link')})
            ORDER BY coalesce(token.refreshed_at, token.created_at) LIMIT ${limit} FOR UPDATE SKIP LOCKED)
        RETURNING id, generation`,
  );
}

/** Lets another instance take pairs that were queued and not refreshed. */
export async function unqueuePairs(db: Knex, pairs: readonly SeenPair[]): Promise<void> {
  if (pairs.length === 0) return;
  const ids = pairs.map(({ id }) => id);
  await run(db, sql`UPDATE ring_tokens SET refresh_queued_until = NULL WHERE id = ANY (${ids}::uuid[])`);
}

/**
 * Marks pairs whose refresh was under way when its process died. Whether Ring has replaced them is unknown, so they are
 * tried again.
 */
export function markAbandonedPairs(db: Knex): Promise<Pick<PairRow, 'id'>[]> {
  return rows<Pick<PairRow, 'id'>>(
    db,
    sql`UPDATE ring_tokens SET refresh_state = 'UNCERTAIN'
         WHERE status = 'CLAIMED' AND refresh_state = 'REFRESHING'
           AND refresh_started_at < now() - ${ABANDONED_AFTER_SECONDS} * interval '1 s'
        RETURNING id`,
  );
}
