import type { Knex } from 'knex';
import { endLiveViews } from '../live-views/live-views.js';
import { pauseOffline, resumeOnline } from '../pictures/schedule-rows.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { type OnlineState, storeOnline } from './device-rows.js';

/** Notes whether a device is online, with what follows: an offline device has no live view and takes no pictures. */
export async function setOnline(trx: Knex.Transaction, state: OnlineState): Promise<void> {
  const { accountId, deviceId, online, at, now } = state;
  const changed = await storeOnline(trx, state);
  if (changed === undefined) return;
  if (changed.name === null) await refetchDevice(trx, { accountId, deviceId, occurredAt: at });
  if (online) {
    await resumeOnline(trx, accountId, deviceId, now);
  } else {
    await endLiveViews(trx, { accountId, deviceId }, 'DEVICE_OFFLINE', now);
    await pauseOffline(trx, accountId, deviceId);
  }
}
