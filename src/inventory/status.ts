import type { Knex } from 'knex';
import { type DeviceReference, refetchDevice } from '../ring-accounts/refetch.js';
import type { DeviceStatus } from '../ring/devices.js';
import { markStatusFetched } from './device-rows.js';
import { setOnline } from './online.js';
import { hearSensors } from './sensors.js';

/** When Ring was asked. */
export interface Asked {
  /** By Ring's own clock: its answer is not older than that. */
  askedAt: Date;
  /** By our clock, now that the answer is here. */
  now: Date;
  /** How far the two clocks may be apart. */
  clockSkewMs: number;
}

/** Stores Ring's answer to the question how a device is. Newer words of webhooks stand. */
export async function storeStatus(
  trx: Knex.Transaction,
  { accountId, deviceId }: Pick<DeviceReference, 'accountId' | 'deviceId'>,
  { online, reportedAt, sensors }: DeviceStatus,
  asked: Asked,
): Promise<void> {
  const { askedAt, now } = asked;
  const at = timeOfStatus(reportedAt, asked);
  await markStatusFetched(trx, { accountId, deviceId }, askedAt);
  if (online !== undefined) {
    const undescribed = await setOnline(trx, [{ accountId, deviceId, online, at, isChange: false }], now);
    for (const word of undescribed) await refetchDevice(trx, { ...word, occurredAt: at });
  }
  await hearSensors(trx, { accountId, deviceId, at, isChange: false, faulted: sensors });
}

/** Before Ring sold its first device. A time as early as that was never set. */
const EARLIEST = Date.UTC(2012, 0);

/**
 * As of when a status is known. Without a time that can be, it is the time of asking. Ring tells whole seconds, and what
 * happened within that second is known by its end.
 */
function timeOfStatus(reportedAt: Date | undefined, { askedAt, now, clockSkewMs }: Asked): Date {
  const reported = reportedAt?.getTime() ?? 0;
  if (reported < EARLIEST || reported > now.getTime() + clockSkewMs) return askedAt;
  const endOfSecond = reported % 1_000 === 0 ? reported + 999 : reported;
  return new Date(Math.max(reported, Math.min(endOfSecond, now.getTime())));
}
