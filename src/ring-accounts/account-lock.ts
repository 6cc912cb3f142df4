import type { Knex } from 'knex';
import { rows, run, sql } from '../database/sql.js';

/**
 * Locks a Ring account until the end of the transaction: no other transaction with the lock changes what we hold of it.
 *
 * A transaction takes its locks in this order, so that no two wait for each other in a circle: the user's row, see
 * `lockUser`; Ring accounts, by their IDs; rows of links; rows of devices; everything else; the pool's order, see
 * `identifyPair`.
 */
export async function lockAccount(trx: Knex.Transaction, accountId: string): Promise<void> {
  await run(trx, sql`SELECT pg_advisory_xact_lock(hashtextextended(${accountId}, 0))`);
}

/** As {@link lockAccount} for several accounts, without waiting. @returns those whose lock was free and is now taken */
export async function tryLockAccounts(trx: Knex.Transaction, accountIds: readonly string[]): Promise<string[]> {
  const locked = await rows<{ id: string }>(
    trx,
    sql`SELECT id FROM unnest(${accountIds}::text[]) AS account (id)
         WHERE pg_try_advisory_xact_lock(hashtextextended(id, 0))`,
  );
  return locked.map(({ id }) => id);
}
