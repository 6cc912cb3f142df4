import type { Knex } from 'knex';
import { enqueueInbox } from '../inbox/wake-up.js';
import { refetchInventory, refetchSubscriptions } from '../ring-accounts/refetch.js';
import { enqueueUntoldIdentifier } from './tell-identifier.js';

/**
 * Adds the jobs that follow when a link becomes complete: tell Ring an identifier that has changed meanwhile, fetch what Ring
 * knows of the account, and apply the events that have waited for the link. Part of the transaction that completes it.
 */
export async function catchUp(trx: Knex.Transaction, accountId: string): Promise<void> {
  await enqueueUntoldIdentifier(trx, accountId);
  await refetchInventory(trx, accountId);
  await refetchSubscriptions(trx, accountId);
  await enqueueInbox(trx, accountId);
}
