import type { Knex } from 'knex';
import { lockAccount } from './account-lock.js';
import { row } from '../database/database.js';
import { IS_USABLE } from './link-conditions.js';

/**
 * Stores an answer of Ring's: in one transaction, alone with the account, and only while it is linked, for an answer may
 * come after the link has ended.
 */
export async function inLinkedAccount(db: Knex, accountId: string, store: (trx: Knex) => Promise<void>): Promise<void> {
  await db.transaction(async (trx) => {
    await lockAccount(trx, accountId);
    const linked = await row(trx, `SELECT 1 FROM account_links WHERE account_id = ? AND ${IS_USABLE} FOR UPDATE`, [
      accountId,
    ]);
    if (linked !== undefined) await store(trx);
  });
}
