import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { enqueue, jobKey } from '../jobs/enqueue.js';
import { isApplied } from '../ring-accounts/link-conditions.js';

/** The job that applies the pending events of some Ring accounts. */
export const PROCESS_INBOX = 'process_inbox';

/**
 * Adds the job that applies an account's pending events.
 *
 * @param on the transaction that makes them applicable, or the database when they have been so before
 */
export function enqueueInbox(on: Knex, accountId: string, delayMs = 0): Promise<void> {
  return enqueue(on, PROCESS_INBOX, { accountIds: [accountId] }, { key: jobKey(PROCESS_INBOX, accountId), delayMs });
}

/** Longer than any job waits for its turn while all is well. */
const OVERDUE_AFTER_MS = 60_000;
const MOST_ACCOUNTS = 1_000;

/**
 * Adds the jobs of accounts whose events have been pending for too long: a job may have run out of attempts while the
 * database was away. A second job for an account does no harm, so every instance may do this at once.
 */
export async function wakeOverdueInboxes({ db, clock, log }: Pick<Core, 'db' | 'clock' | 'log'>): Promise<void> {
  const receivedBefore = new Date(clock().getTime() - OVERDUE_AFTER_MS);
  const overdue = await rows<Pick<Tables['webhook_events'], 'account_id'>>(
    db,
    sql`SELECT DISTINCT account_id FROM webhook_events AS event
         WHERE status = 'PENDING' AND received_at < ${receivedBefore} AND (retry_at IS NULL OR retry_at < now())
           AND (type = 'app_integration_removed'
                OR EXISTS (SELECT 1 FROM account_links AS link
                            WHERE link.account_id = event.account_id AND ${isApplied('link')}))
         LIMIT ${MOST_ACCOUNTS}`,
  );
  if (overdue.length > 0) log.warn({ accounts: overdue.length }, 'webhook events have waited for too long');
  for (const { account_id } of overdue) await enqueueInbox(db, account_id);
}
