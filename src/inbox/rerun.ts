import type { ClientBase } from 'pg';
import { sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { reopenFailedEvents } from './event-rows.js';
import { PROCESS_INBOX } from './wake-up.js';

export type FailedEvent = Pick<
  Tables['webhook_events'],
  'request_id' | 'type' | 'attempts' | 'last_error' | 'received_at'
>;

const MAX_LISTED = 1_000;

/** The events that have failed for good, oldest first. */
export async function failedEvents(client: ClientBase): Promise<FailedEvent[]> {
  const { rows } = await client.query<FailedEvent>(
    sql`SELECT request_id, type, attempts, last_error, received_at FROM webhook_events
         WHERE status = 'FAILED' ORDER BY id LIMIT ${MAX_LISTED}`.numbered,
  );
  return rows;
}

/** Puts failed events back into the inbox, and adds the job that applies them. @returns how many there were */
export async function rerunFailed(client: ClientBase, which: 'all' | readonly string[]): Promise<number> {
  await client.query('BEGIN');
  const accountIds = await reopenFailedEvents(client, which);
  const payload = JSON.stringify({ accountIds: [...new Set(accountIds)] });
  await client.query(sql`SELECT graphile_worker.add_job(${PROCESS_INBOX}, ${payload}::json)`.numbered);
  await client.query('COMMIT');
  return accountIds.length;
}
