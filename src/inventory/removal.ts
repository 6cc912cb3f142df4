import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { archive, type Removal } from './archive.js';
import { eraseDeviceEvents } from '../events/record-events.js';
import { endLiveViews, forgetFormerLiveViews } from '../live-views/live-views.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { cancelOperations } from '../pictures/schedules.js';
import { bindScope, type DeviceScope, IN_SCOPE } from '../ring-accounts/device-scope.js';
import type { Core } from '../core.js';

export type DeviceRemoval = Omit<Removal, 'kind'> & {
  deviceId: string;
  /** Added later than this, the device is there again. */
  unlessAddedAfter: Date;
};

/**
 * Ends a device: its live views, its scheduled operations, and all that we hold of it but its name and the time, so that
 * its user can be told. Part of a transaction that holds the account's lock: it happens whole or not at all, and is
 * archived once.
 */
export async function removeDevice(trx: Knex, { unlessAddedAfter, ...removal }: DeviceRemoval): Promise<void> {
  const { accountId, deviceId, occurredAt, now } = removal;
  const device = await row<{ removed_at: Date | null; added_at: Date | null; fetched_at: Date | null }>(
    trx,
    'SELECT removed_at, added_at, fetched_at FROM devices WHERE account_id = ? AND id = ? FOR UPDATE',
    [accountId, deviceId],
  );
  if (isAfter(device?.added_at, unlessAddedAfter)) return;
  // Ring has shown it to us since: it may be back, or not yet quite gone. Only Ring knows.
  if (isAfter(device?.fetched_at, occurredAt)) {
    await refetchDevice(trx, { accountId, deviceId, occurredAt: unlessAddedAfter });
    return;
  }
  await endLiveViews(trx, removal, 'DEVICE_REMOVED', now);
  if (device?.removed_at == null) await archive(trx, { ...removal, kind: 'DEVICE_REMOVED' });
  await erase(trx, removal);
  await trx.raw(
    `INSERT INTO devices AS device (account_id, id, removed_at) VALUES (?, ?, ?)
     ON CONFLICT (account_id, id) DO UPDATE
        SET removed_at = greatest(device.removed_at, excluded.removed_at), online = NULL, online_at = NULL, online_since = NULL,
            capabilities = NULL, configurations = NULL, location = NULL, added_at = NULL, fetched_at = NULL,
            fetch_error = NULL`,
    [accountId, deviceId, occurredAt],
  );
}

const isAfter = (time: Date | null | undefined, other: Date): boolean => time != null && time > other;

/** Ends all devices of an account, whose link the caller has locked. Ring is not called: it knows our tokens no more. */
export async function removeAllDevices(trx: Knex, accountId: string, now: Date): Promise<void> {
  await endLiveViews(trx, { accountId }, 'LINK_REMOVED', now);
  await erase(trx, { accountId });
  await trx.raw('DELETE FROM devices WHERE account_id = ?', [accountId]);
}

/**
 * What was scheduled for the devices, and what they have told and shown; also in the inbox, where only the row stays that
 * knows the event again. What has failed is not going to be of use any more.
 */
async function erase(trx: Knex, scope: DeviceScope): Promise<void> {
  await cancelOperations(trx, scope);
  await forgetFormerLiveViews(trx, scope);
  await eraseDeviceEvents(trx, scope);
  await trx.raw(`DELETE FROM snapshots WHERE ${IN_SCOPE}`, bindScope(scope));
  await trx.raw(
    `UPDATE webhook_events SET body = NULL, status = 'PROCESSED'
      WHERE ${IN_SCOPE} AND status IN ('PROCESSED', 'FAILED') AND body IS NOT NULL`,
    bindScope(scope),
  );
}

/** Long enough for a user to read that it was removed. */
const REMOVED_DEVICE_DAYS = 30;

export async function forgetRemovedDevices({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const oldest = new Date(clock().getTime() - REMOVED_DEVICE_DAYS * 86_400_000);
  await db.raw('DELETE FROM devices WHERE removed_at < ?', [oldest]);
}
