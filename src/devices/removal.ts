import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { archive, type Removal } from './archive.js';
import { endLiveViews } from './live-views.js';
import { cancelOperations } from './schedules.js';

export type DeviceRemoval = Omit<Removal, 'kind' | 'deviceId'> & { deviceId: string };

/**
 * Ends a device: its live views, its scheduled operations, and all that we hold of it but its name and the time, so that
 * its user can be told. Part of a transaction that holds the account's lock: it happens whole or not at all, and once.
 */
export async function removeDevice(trx: Knex, removal: DeviceRemoval): Promise<void> {
  const { accountId, deviceId, occurredAt, now } = removal;
  const device = await row<{ removed_at: Date | null; added_at: Date | null }>(
    trx,
    'SELECT removed_at, added_at FROM devices WHERE account_id = ? AND id = ? FOR UPDATE',
    [accountId, deviceId],
  );
  const wasAddedSince = device?.added_at != null && device.added_at > occurredAt;
  if (wasAddedSince) return;
  if (device?.removed_at == null) {
    await endLiveViews(trx, { accountId, deviceId }, 'DEVICE_REMOVED', { now, closeAtRing: true });
    await archive(trx, { ...removal, kind: 'DEVICE_REMOVED' });
    await cancelOperations(trx, accountId, deviceId);
    await eraseDeviceData(trx, accountId, deviceId);
  }
  await trx.raw(
    `INSERT INTO devices AS device (account_id, id, removed_at) VALUES (?, ?, ?)
     ON CONFLICT (account_id, id) DO UPDATE
        SET removed_at = greatest(device.removed_at, excluded.removed_at), online = NULL, online_at = NULL,
            capabilities = NULL, configurations = NULL, location = NULL, added_at = NULL, fetched_at = NULL,
            fetch_error = NULL`,
    [accountId, deviceId, occurredAt],
  );
}

/** Ends all devices of an account at once. Ring is not called: it does not know our tokens any more. */
export async function removeAllDevices(trx: Knex, accountId: string, now: Date): Promise<void> {
  // First, as everywhere: whoever is storing a picture holds its device, and asks for its operation next.
  await trx.raw('SELECT 1 FROM devices WHERE account_id = ? FOR UPDATE', [accountId]);
  await endLiveViews(trx, { accountId }, 'LINK_REMOVED', { now, closeAtRing: false });
  await cancelOperations(trx, accountId);
  await eraseDeviceData(trx, accountId);
  await trx.raw('DELETE FROM devices WHERE account_id = ?', [accountId]);
}

/** What the device has told and shown, also in the inbox, where only the row stays that knows the event again. */
async function eraseDeviceData(trx: Knex, accountId: string, deviceId?: string): Promise<void> {
  const scope = [accountId, deviceId ?? null];
  await trx.raw(
    `UPDATE webhook_events SET body = NULL
      WHERE account_id = ? AND status = 'PROCESSED' AND body IS NOT NULL
        AND request_id IN (SELECT request_id FROM device_events WHERE account_id = ? AND device_id = coalesce(?, device_id))`,
    [accountId, ...scope],
  );
  for (const table of ['device_events', 'snapshots']) {
    await trx.raw(`DELETE FROM ${table} WHERE account_id = ? AND device_id = coalesce(?, device_id)`, scope);
  }
}

/** Long enough for a user to read that it was removed. */
const REMOVED_DEVICE_DAYS = 30;

export async function forgetRemovedDevices({ database, clock }: { database: Knex; clock: () => Date }): Promise<void> {
  const oldest = new Date(clock().getTime() - REMOVED_DEVICE_DAYS * 86_400_000);
  await database.raw('DELETE FROM devices WHERE removed_at < ?', [oldest]);
}
