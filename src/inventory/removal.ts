import type { Knex } from 'knex';
import { eraseHistories } from '../events/history-rows.js';
import { eraseDeviceEvents } from '../events/record-events.js';
import { eraseBodiesOfDevices } from '../inbox/event-rows.js';
import { endLiveViews, eraseFormerLiveViews, lockLiveViews } from '../live-views/live-views.js';
import { erasePictures } from '../pictures/pictures.js';
import { eraseSchedules } from '../pictures/schedule-rows.js';
import type { DeviceScope } from '../ring-accounts/device-scope.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { archiveRemoval, type Removal } from './archive.js';
import { eraseDevices, lockDevice, markRemoved } from './device-rows.js';

export type DeviceRemoval = Omit<Removal, 'kind'> & {
  deviceId: string;
  /** Added later than this, the device is there again. */
  unlessAddedAfter: Date;
};

/**
 * Ends a device: its live views, its schedules, and all that we hold of it but its name and the time, so that its user can
 * be told. Part of a transaction that holds the account's lock: it happens whole or not at all, and is archived once.
 */
export async function removeDevice(
  trx: Knex.Transaction,
  { unlessAddedAfter, ...removal }: DeviceRemoval,
): Promise<void> {
  const { accountId, deviceId, occurredAt, now } = removal;
  const device = await lockDevice(trx, accountId, deviceId);
  if (isAfter(device?.added_at, unlessAddedAfter)) return;
  // Ring has shown it to us since: it may be back, or not yet quite gone. Only Ring knows.
  if (isAfter(device?.fetched_at, occurredAt)) {
    await refetchDevice(trx, { accountId, deviceId, occurredAt: unlessAddedAfter });
    return;
  }
  await lockLiveViews(trx, removal);
  await endLiveViews(trx, removal, 'DEVICE_REMOVED', now);
  if (device?.removed_at == null) await archiveRemoval(trx, { ...removal, kind: 'DEVICE_REMOVED' });
  await erase(trx, removal, now);
  await markRemoved(trx, removal);
}

const isAfter = (time: Date | null | undefined, other: Date): boolean => time != null && time > other;

/** Ends all devices of a Ring account, whose link the caller has locked. Ring is not called: our tokens are void there. */
export async function removeAllDevices(trx: Knex.Transaction, accountId: string, now: Date): Promise<void> {
  await lockLiveViews(trx, { accountId });
  await endLiveViews(trx, { accountId }, 'LINK_REMOVED', now);
  await erase(trx, { accountId }, now);
  await eraseDevices(trx, accountId);
}

/** Erases the schedules of devices, and all that the devices have told and shown. */
async function erase(trx: Knex.Transaction, scope: DeviceScope, now: Date): Promise<void> {
  await eraseSchedules(trx, scope);
  await eraseFormerLiveViews(trx, scope);
  await eraseHistories(trx, scope);
  await eraseDeviceEvents(trx, scope);
  await erasePictures(trx, scope);
  await eraseBodiesOfDevices(trx, scope, now);
}
