import type { Knex } from 'knex';
import { row, run, sql } from '../database/sql.js';

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

/** As {@link lockAccount}, without waiting. @returns whether the lock was free and is now taken */
export async function tryLockAccount(trx: Knex.Transaction, accountId: string): Promise<boolean> {
  const attempt = await row<{ is_locked: boolean }>(
    trx,
    sql`SELECT pg_try_advisory_xact_lock(hashtextextended(${accountId}, 0)) AS is_locked`,
  );
  return attempt?.is_locked === true;
}
