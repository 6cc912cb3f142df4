import type { Knex } from 'knex';
import { rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { reopenFailedEvents } from './event-rows.js';
import { wakeAccounts } from './wake-up.js';

export type FailedEvent = Pick<
  Tables['webhook_events'],
  'request_id' | 'type' | 'attempts' | 'last_error' | 'received_at'
>;

const MAX_LISTED = 1_000;

/** The events that have failed for good, oldest first. */
export function failedEvents(db: Knex): Promise<FailedEvent[]> {
  return rows<FailedEvent>(
    db,
    sql`SELECT request_id, type, attempts, last_error, received_at FROM webhook_events
         WHERE status = 'FAILED' ORDER BY id LIMIT ${MAX_LISTED}`,
  );
}

/** Puts failed events back into the inbox, and has them applied. @returns how many there were */
export async function rerunFailed(db: Knex, which: 'all' | readonly string[]): Promise<number> {
  return db.transaction(async (trx) => {
    const accountIds = await reopenFailedEvents(trx, which);
    await wakeAccounts(trx, [...new Set(accountIds)]);
    return accountIds.length;
  });
}
