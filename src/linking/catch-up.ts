import type { Knex } from 'knex';
import { enqueueMissedTime } from '../events/read-history.js';
import { wakeAccounts } from '../inbox/wake-up.js';
import { refetchInventory, refetchSubscriptions } from '../ring-accounts/refetch.js';
import { enqueueUntoldIdentifier } from './tell-identifier.js';

/**
 * Adds the jobs that follow when a link becomes complete: tell Ring an identifier that has changed meanwhile, fetch what Ring
 * knows of the account, apply the events that have waited for the link, and read in Ring's history what no webhook has told.
 * Part of the transaction that completes it.
 *
 * @param lostSince since when events may be missing; null: since the user shared the account
 */
export async function catchUp(trx: Knex.Transaction, accountId: string, lostSince: Date | null): Promise<void> {
  await enqueueUntoldIdentifier(trx, accountId);
  await refetchInventory(trx, accountId);
  await refetchSubscriptions(trx, accountId);
  await wakeAccounts(trx, [accountId]);
  await enqueueMissedTime(trx, accountId, lostSince);
}
