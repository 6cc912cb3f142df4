import type { Knex } from 'knex';
import { row, sql } from '../database/sql.js';
import { lockAccount } from './account-lock.js';
import { isUsable } from './link-conditions.js';

/**
 * Stores an answer of Ring's in one transaction that holds the account's lock. Does nothing when the account is not linked,
 * because an answer may come after the link has ended.
 */
export async function inLinkedAccount(
  db: Knex,
  accountId: string,
  store: (trx: Knex.Transaction) => Promise<void>,
): Promise<void> {
  await db.transaction(async (trx) => {
    await lockAccount(trx, accountId);
    const linked = await row(
      trx,
      sql`SELECT 1 FROM account_links WHERE account_id = ${accountId} AND ${isUsable()} FOR UPDATE`,
    );
    if (linked !== undefined) await store(trx);
  });
}
