import type { ClientBase } from 'pg';
import { PROCESS_INBOX } from './inbox.js';

export interface FailedEvent {
  request_id: string;
  type: string;
  attempts: number;
  last_error: string;
  received_at: Date;
}

const MAX_LISTED = 1_000;

/** The events that have failed for good, oldest first. */
export async function failedEvents(client: ClientBase): Promise<FailedEvent[]> {
  const { rows } = await client.query<FailedEvent>(
    `SELECT request_id, type, attempts, last_error, received_at FROM webhook_events
      WHERE status = 'FAILED' ORDER BY id LIMIT $1`,
    [MAX_LISTED],
  );
  return rows;
}

/** Puts failed events back into the inbox and has it looked at. @returns how many there were */
export async function rerunFailed(client: ClientBase, which: 'all' | readonly string[]): Promise<number> {
  await client.query('BEGIN');
  const { rows } = await client.query<{ account_id: string }>(
    `UPDATE webhook_events SET status = 'PENDING', attempts = 0, retry_at = NULL
      WHERE status = 'FAILED' AND ($1::uuid[] IS NULL OR request_id = ANY ($1::uuid[])) RETURNING account_id`,
    [which === 'all' ? null : which],
  );
  await client.query(`SELECT graphile_worker.add_job($1, $2::json)`, [
    PROCESS_INBOX,
    JSON.stringify({ accountIds: [...new Set(rows.map((row) => row.account_id))] }),
  ]);
  await client.query('COMMIT');
  return rows.length;
}
