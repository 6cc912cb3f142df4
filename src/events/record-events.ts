import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { IS_USABLE } from '../ring-accounts/link-conditions.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { bindScope, type DeviceScope, IN_SCOPE } from '../ring-accounts/device-scope.js';
import type { Core } from '../core.js';

export interface DeviceEvent {
  requestId: string;
  accountId: string;
  deviceId: string;
  type: string;
  subtype?: string | undefined;
  occurredAt: Date;
}

/** Where Postgres tells of recorded events, once they are committed; the payload is the ID of the user who may see them. */
export const EVENTS_CHANNEL = 'device_events';

/** SQL: tells the pages of whoever may see the events of an account that these have changed. Binds the account. */
const TELL_PAGES = `SELECT pg_notify('${EVENTS_CHANNEL}', user_id::text) FROM account_links WHERE account_id = ? AND ${IS_USABLE}`;

/**
 * Notes what a device has told, and tells the pages that show it; unless it was removed since: what happened before that
 * is erased. A device that tells more after its removal may be back without our having heard of it: then Ring is asked.
 */
export async function recordDeviceEvent(trx: Knex, event: DeviceEvent): Promise<void> {
  const { requestId, accountId, deviceId, type, subtype, occurredAt } = event;
  const recorded = await row<{ was_removed: boolean }>(
    trx,
    `INSERT INTO device_events (request_id, account_id, device_id, type, subtype, occurred_at)
     SELECT ?, ?, ?, ?, ?, ?
      WHERE NOT EXISTS (SELECT 1 FROM devices WHERE account_id = ? AND id = ? AND removed_at >= ?)
     ON CONFLICT (request_id) DO NOTHING
     RETURNING EXISTS (SELECT 1 FROM devices WHERE account_id = ? AND id = ? AND removed_at IS NOT NULL) AS was_removed,
               (${TELL_PAGES})`,
    [
      ...[requestId, accountId, deviceId, type, subtype ?? null, occurredAt],
      ...[accountId, deviceId, occurredAt],
      ...[accountId, deviceId],
      accountId,
    ],
  );
  if (recorded?.was_removed === true) await refetchDevice(trx, { accountId, deviceId, occurredAt });
}

/** Erases what the devices have told, while their link still stands, and has it vanish from the pages that show it. */
export async function eraseDeviceEvents(trx: Knex, scope: DeviceScope): Promise<void> {
  await trx.raw(`DELETE FROM device_events WHERE ${IN_SCOPE}`, bindScope(scope));
  await trx.raw(TELL_PAGES, [scope.accountId]);
}

const RETENTION_MS = 90 * 86_400_000;

/** Forgets what happened long ago. */
export async function forgetOldDeviceEvents({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  await db.raw('DELETE FROM device_events WHERE occurred_at < ?', [new Date(clock().getTime() - RETENTION_MS)]);
}
