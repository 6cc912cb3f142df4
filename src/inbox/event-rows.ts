import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import { USER_OF_EVENT } from './user-of-event.js';

/**
 * A row of `webhook_events`. All its transitions stand in this file; its insert is the one statement of `inbox.ts`. `PENDING`
 * becomes `PROCESSED`, or `FAILED` after too many attempts. A failed event can be put back. `UNKNOWN_TYPE` stays.
 */
type EventRow = Tables['webhook_events'];

/** Ring can deliver an event again for 72 h. */
const RETENTION_MS = 7 * 86_400_000;
const BATCH = 5_000;

/** SQL: the columns of an event that is done with, applied or not. One of an unknown type keeps its status. */
const becomesProcessed = (now: Date): Sql => sql`
  status = CASE status WHEN 'UNKNOWN_TYPE' THEN status ELSE 'PROCESSED' END,
  processed_at = coalesce(processed_at, ${now}), last_error = NULL, retry_at = NULL`;

/**
 * Marks events as applied. Where the link or the device is gone by now, only what tells a duplicate is kept: the body, which
 * may tell about the user, is erased.
 *
 * @param events `isPast`: their link is gone
 */
export async function markProcessed(
  trx: Knex.Transaction,
  events: readonly { id: EventRow['id']; isPast: boolean }[],
  now: Date,
): Promise<void> {
  const past = events.filter(({ isPast }) => isPast).map(({ id }) => id);
  await run(
    trx,
    sql`UPDATE webhook_events AS event
           SET ${becomesProcessed(now)},
               body = CASE WHEN id = ANY (${past}::bigint[]) OR EXISTS (
                             SELECT 1 FROM devices
                              WHERE account_id = event.account_id AND id = event.device_id
                                AND removed_at >= event.occurred_at)
                           THEN NULL ELSE body END
         WHERE id = ANY (${events.map(({ id }) => id)}::bigint[])`,
  );
}

interface FailedAttempt {
  id: EventRow['id'];
  /** How many have failed, this one included. */
  attempts: number;
  reason: string;
}

/** Has a pending event tried again after a pause, in ms. The events behind it wait, too. */
export async function postponeEvent(db: Knex, { id, attempts, reason }: FailedAttempt, pauseMs: number): Promise<void> {
  await run(
    db,
    sql`UPDATE webhook_events
           SET attempts = ${attempts}, last_error = ${reason}, retry_at = now() + ${pauseMs} * interval '1 ms'
         WHERE id = ${id} AND status = 'PENDING'`,
  );
}

/** Gives a pending event up, so that those behind it go on. */
export async function failEvent(db: Knex, { id, attempts, reason }: FailedAttempt): Promise<void> {
  await run(
    db,
    sql`UPDATE webhook_events
           SET status = 'FAILED', attempts = ${attempts}, last_error = ${reason}, retry_at = NULL
         WHERE id = ${id} AND status = 'PENDING'`,
  );
}

/** Makes failed events pending again. @returns the Ring account of each */
export async function reopenFailedEvents(trx: Knex.Transaction, which: 'all' | readonly string[]): Promise<string[]> {
  const chosen = which === 'all' ? sql`true` : sql`request_id = ANY (${which}::uuid[])`;
  const reopened = await rows<Pick<EventRow, 'account_id'>>(
    trx,
    sql`UPDATE webhook_events SET status = 'PENDING', attempts = 0, retry_at = NULL
         WHERE status = 'FAILED' AND ${chosen} RETURNING account_id`,
  );
  return reopened.map(({ account_id }) => account_id);
}

/** SQL: events that would still be applied, or run again. The end of an integration is never voided: it must be applied. */
const IS_VOIDABLE = sql`status IN ('PENDING', 'FAILED') AND type <> 'app_integration_removed'`;

/** Voids the events of a link that ends, so that they are not applied to the account's next link. */
export async function voidEventsUntil(
  trx: Knex.Transaction,
  { accountId, occurredAt, now }: { accountId: string; occurredAt: Date; now: Date },
): Promise<void> {
  await voidWhere(trx, sql`account_id = ${accountId} AND occurred_at <= ${occurredAt}`, now);
}

/**
 * Voids events that have waited since long before a pair's installation: they were sent for no user, or for one who was
 * deleted here. An installation's own events come some minutes before its pair at most, with all of Ring's retries.
 */
export async function voidEventsBeforePair(
  trx: Knex.Transaction,
  accountId: string,
  pairId: Tables['ring_tokens']['id'],
  now: Date,
): Promise<void> {
  const pairCreated = sql`(SELECT created_at FROM ring_tokens WHERE id = ${pairId})`;
  await voidWhere(trx, sql`account_id = ${accountId} AND received_at < ${pairCreated} - interval '10 minutes'`, now);
}

async function voidWhere(trx: Knex.Transaction, condition: Sql, now: Date): Promise<void> {
  await run(
    trx,
    sql`UPDATE webhook_events SET ${becomesProcessed(now)}, body = NULL
         WHERE ${IS_VOIDABLE} AND ${condition}`,
  );
}

/**
 * Erases the bodies of the events of devices that were applied or have failed. A failed one will not be needed any more. The
 * rows stay, because they recognize a second delivery.
 */
export async function eraseBodiesOfDevices(trx: Knex.Transaction, scope: DeviceScope, now: Date): Promise<void> {
  await run(
    trx,
    sql`UPDATE webhook_events SET ${becomesProcessed(now)}, body = NULL
         WHERE ${inScope(scope)} AND status IN ('PROCESSED', 'FAILED') AND body IS NOT NULL`,
  );
}

/** Erases the bodies of all events of an account, with a device or without, but of those that may still be applied. */
export async function eraseBodiesOfAccount(trx: Knex.Transaction, accountId: string): Promise<void> {
  await run(
    trx,
    sql`UPDATE webhook_events SET body = NULL
         WHERE account_id = ${accountId} AND status IN ('PROCESSED', 'UNKNOWN_TYPE') AND body IS NOT NULL`,
  );
}

/**
 * Erases everything that Ring has sent for a user, applied or not. The rows stay, but do not tell whose they were. A second
 * delivery is recognized by them. Nothing of it will be applied. The user's links must still be there.
 *
 * @param accountIds all Ring accounts that the user has ever linked
 * @param own those of them that no other user has linked since: everything that was sent for them is erased
 */
export async function eraseInboxOfUser(
  trx: Knex.Transaction,
  { userId, accountIds, own, now }: { userId: string; accountIds: string[]; own: string[]; now: Date },
): Promise<void> {
  await run(
    trx,
    sql`UPDATE webhook_events AS event
           SET ${becomesProcessed(now)}, account_id = '', device_id = NULL, body = NULL
         WHERE account_id = ANY (${accountIds}::text[])
           AND (account_id = ANY (${own}::text[]) OR (${USER_OF_EVENT}) = ${userId})`,
  );
}

/**
 * Purges events that Ring can't deliver again. Failed ones stay until they are run again. Safe on every instance at once:
 * they skip each other's rows.
 *
 * IDs are the order of arrival, so the oldest rows are the first, up to the first one that is young enough.
 */
export async function purgeInbox({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const oldest = new Date(clock().getTime() - RETENTION_MS);
  let purged: number;
  do {
    purged = await run(
      db,
      sql`DELETE FROM webhook_events WHERE id IN
            (SELECT id FROM webhook_events
              WHERE id < coalesce((SELECT id FROM webhook_events WHERE received_at >= ${oldest} ORDER BY id LIMIT 1),
                                  9223372036854775807)
                AND status <> 'FAILED'
              ORDER BY id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)`,
    );
  } while (purged === BATCH);
}
