import type { Knex } from 'knex';

/** Until the end of the transaction, nobody else changes what we hold of this Ring account. */
export async function lockAccount(trx: Knex, accountId: string): Promise<void> {
  await trx.raw('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', [accountId]);
}
