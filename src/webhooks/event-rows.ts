import type { Knex } from 'knex';
import { USER_OF_EVENT } from './user-of-event.js';
import type { Core } from '../core.js';

/** Ring can deliver an event again for 72 h. */
const RETENTION_MS = 7 * 86_400_000;
const BATCH = 5_000;

/**
 * Of everything that Ring has sent for a user, applied or not, only the row stays that knows the event again, without
 * telling whose it was. Nothing of it will be applied. The user's links must still be there.
 *
 * @param accountIds all Ring accounts that the user has ever linked
 * @param own those of them that are nobody else's by now: all that was sent for them goes
 */
export async function forgetInbox(
  trx: Knex,
  { userId, accountIds, own, now }: { userId: string; accountIds: string[]; own: string[]; now: Date },
): Promise<void> {
  await trx.raw(
    `UPDATE webhook_events AS event
        SET account_id = '', device_id = NULL, body = NULL, last_error = NULL, retry_at = NULL,
            status = CASE status WHEN 'UNKNOWN_TYPE' THEN status ELSE 'PROCESSED' END,
            processed_at = coalesce(processed_at, ?)
      WHERE account_id = ANY (?::text[]) AND (account_id = ANY (?::text[]) OR (${USER_OF_EVENT}) = ?)`,
    [now, accountIds, own, userId],
  );
}

/**
 * Forgets events that can't come again, with one exception: what failed for good stays until somebody has looked at it.
 * Safe on every instance at once: they skip each other's rows.
 *
 * IDs are the order of arrival, so the oldest rows are the first, up to the first one that is young enough.
 */
export async function purgeInbox({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const oldest = new Date(clock().getTime() - RETENTION_MS);
  let purged: number;
  do {
    const result = await db.raw<{ rowCount: number }>(
      `DELETE FROM webhook_events WHERE id IN
         (SELECT id FROM webhook_events
           WHERE id < coalesce((SELECT id FROM webhook_events WHERE received_at >= ? ORDER BY id LIMIT 1),
                               9223372036854775807)
             AND status <> 'FAILED'
           ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED)`,
      [oldest, BATCH],
    );
    purged = result.rowCount;
  } while (purged === BATCH);
}
