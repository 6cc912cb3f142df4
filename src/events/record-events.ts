import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { row, run, type Sql, sql } from '../database/sql.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import { isUsable } from '../ring-accounts/link-conditions.js';
import { refetchDevice } from '../ring-accounts/refetch.js';

export interface DeviceEvent {
  requestId: string;
  accountId: string;
  deviceId: string;
  type: string;
  subtype?: string | undefined;
  occurredAt: Date;
}

/**
 * The channel on which Postgres tells of recorded events, once they are committed. The payload is the ID of the user who
 * may see them.
 */
export const EVENTS_CHANNEL = 'device_events';

/** SQL: tells the pages of the user who may see the events of a Ring account that these have changed. */
const tellPages = (accountId: string): Sql =>
  sql`SELECT pg_notify(${EVENTS_CHANNEL}, user_id::text) FROM account_links WHERE account_id = ${accountId} AND ${isUsable()}`;

/**
 * Records an event and tells the pages that show it. An event from before the device's removal is not recorded, because
 * those were erased. An event from after it may mean that the device is back and we were not told: then Ring is asked.
 */
export async function recordDeviceEvent(trx: Knex.Transaction, event: DeviceEvent): Promise<void> {
  const { requestId, accountId, deviceId, type, subtype, occurredAt } = event;
  const recorded = await row<{ was_removed: boolean }>(
    trx,
    sql`INSERT INTO device_events (request_id, account_id, device_id, type, subtype, occurred_at)
        SELECT ${requestId}, ${accountId}, ${deviceId}, ${type}, ${subtype ?? null}, ${occurredAt}
         WHERE NOT EXISTS (SELECT 1 FROM devices
                            WHERE account_id = ${accountId} AND id = ${deviceId} AND removed_at >= ${occurredAt})
        ON CONFLICT (request_id) DO NOTHING
        RETURNING EXISTS (SELECT 1 FROM devices
                           WHERE account_id = ${accountId} AND id = ${deviceId} AND removed_at IS NOT NULL) AS was_removed,
                  (${tellPages(accountId)})`,
  );
  if (recorded?.was_removed === true) await refetchDevice(trx, { accountId, deviceId, occurredAt });
}

/** Erases the events of devices, and tells the pages that show them. The link must still stand, or no page is told. */
export async function eraseDeviceEvents(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(trx, sql`DELETE FROM device_events WHERE ${inScope(scope)}`);
  await run(trx, tellPages(scope.accountId));
}

const RETENTION_MS = 90 * 86_400_000;

/** Purges events that happened more than 90 days ago. */
export async function purgeDeviceEvents({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  await run(db, sql`DELETE FROM device_events WHERE occurred_at < ${new Date(clock().getTime() - RETENTION_MS)}`);
}
