import type { Knex } from 'knex';
import { row } from '../database/database.js';

/**
 * Until the end of the transaction, nobody else changes what we hold of this Ring account.
 *
 * Whoever needs several locks takes them in this order, so that nobody waits in a circle: the user's row, see `lockUser`;
 * accounts, by their IDs; rows of links; rows of devices; everything else.
 */
export async function lockAccount(trx: Knex, accountId: string): Promise<void> {
  await trx.raw('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', [accountId]);
}

/** As {@link lockAccount}, without waiting. @returns whether the lock was to be had */
export async function tryLockAccount(trx: Knex, accountId: string): Promise<boolean> {
  const attempt = await row<{ is_locked: boolean }>(
    trx,
    'SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0)) AS is_locked',
    [accountId],
  );
  return attempt?.is_locked === true;
}
