import type { Knex } from 'knex';
import { enqueue, jobKey } from '../jobs/enqueue.js';

/** The job that asks Ring for every device of an account. */
export const FETCH_INVENTORY = 'fetch_inventory';
/** The job that asks Ring for one device. */
export const FETCH_DEVICE = 'fetch_device';
/** The job that asks Ring for the status of one device. */
export const FETCH_STATUS = 'fetch_device_status';
/** The job that asks Ring what an account has subscribed to. */
export const FETCH_SUBSCRIPTIONS = 'fetch_subscriptions';

export interface DeviceReference {
  accountId: string;
  deviceId: string;
  /** The time of the event, or of Ring's answer, that makes us ask. Should Ring answer 404, a device that was added later than this stays. */
  occurredAt: Date;
}

export function refetchInventory(on: Knex, accountId: string): Promise<void> {
  return enqueue(on, FETCH_INVENTORY, { accountId, attempt: 1 }, { key: jobKey(FETCH_INVENTORY, accountId) });
}

/** Also called when Ring answers any call for a device with 404: the job finds out whether the device is gone. */
export function refetchDevice(on: Knex, { accountId, deviceId, occurredAt }: DeviceReference): Promise<void> {
  const job = { accountId, deviceId, occurredAt, attempt: 1 };
  return enqueue(on, FETCH_DEVICE, job, { key: jobKey(FETCH_DEVICE, accountId, deviceId) });
}

export function refetchStatus(
  on: Knex,
  { accountId, deviceId }: Pick<DeviceReference, 'accountId' | 'deviceId'>,
): Promise<void> {
  const job = { accountId, deviceId, attempt: 1 };
  return enqueue(on, FETCH_STATUS, job, { key: jobKey(FETCH_STATUS, accountId, deviceId) });
}

export function refetchSubscriptions(trx: Knex.Transaction, accountId: string): Promise<void> {
  return enqueue(trx, FETCH_SUBSCRIPTIONS, { accountId, attempt: 1 }, { key: jobKey(FETCH_SUBSCRIPTIONS, accountId) });
}
