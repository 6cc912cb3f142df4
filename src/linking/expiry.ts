import type { Knex } from 'knex';
import { rows } from '../database/database.js';
import { ERASE } from '../tokens/token-pairs.js';
import type { Core } from '../core.js';

const BATCH = 1_000;
/** A code lives 60 s; its digest is kept a day, long after the last retry that anyone could call one. */
const EXCHANGE_RETENTION_MS = 24 * 60 * 60 * 1_000;
const EXPIRED_RETENTION_MS = 30 * 24 * 60 * 60 * 1_000;

/**
 * Moves pairs that nobody claimed in time to `EXPIRED` and erases their ciphertext, so that the pool, which every match
 * walks, stays small. Returns how many.
 *
 * A pair whose claim is under way is locked by it and skipped; instances that run this at once skip each other's rows.
 */
export async function expireUnclaimedTokens(
  { db, clock }: Pick<Core, 'db' | 'clock'>,
  unclaimedTtlSeconds: number,
): Promise<number> {
  const bornBefore = new Date(clock().getTime() - unclaimedTtlSeconds * 1_000);
  const received = await expire(db, 'RECEIVED', bornBefore);
  return received + (await expire(db, 'UNCLAIMED', bornBefore));
}

/** The status stands in the statement itself, because a partial index serves only a query that is known to fit it. */
async function expire(db: Knex, status: 'RECEIVED' | 'UNCLAIMED', bornBefore: Date): Promise<number> {
  let expired = 0;
  for (;;) {
    const batch = await rows(
      db,
      `UPDATE ring_tokens SET status = 'EXPIRED', ${ERASE}
        WHERE id IN (SELECT id FROM ring_tokens
                      WHERE status = '${status}' AND created_at < ? LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)
       RETURNING 1`,
      [bornBefore],
    );
    expired += batch.length;
    if (batch.length < BATCH) return expired;
  }
}

/** Forgets codes that can't come again. */
export async function forgetOldExchanges({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  await db.raw('DELETE FROM token_exchanges WHERE started_at < ?', [
    new Date(clock().getTime() - EXCHANGE_RETENTION_MS),
  ]);
}

/** Forgets the accounts of people who came this far and never linked. */
export async function forgetExpiredTokens({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  await db.raw(`DELETE FROM ring_tokens WHERE status = 'EXPIRED' AND created_at < ?`, [
    new Date(clock().getTime() - EXPIRED_RETENTION_MS),
  ]);
}
