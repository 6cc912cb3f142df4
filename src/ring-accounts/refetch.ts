import type { Knex } from 'knex';
import { enqueue, jobKey } from '../jobs/enqueue.js';

/** The job that asks Ring for every device of an account. */
export const FETCH_INVENTORY = 'fetch_inventory';
/** The job that asks Ring for one device. */
export const FETCH_DEVICE = 'fetch_device';
/** The job that asks Ring what an account has subscribed to. */
export const FETCH_SUBSCRIPTIONS = 'fetch_subscriptions';

export interface DeviceReference {
  accountId: string;
  deviceId: string;
  /** When that happened which makes us ask; should Ring answer 404, an event from later knows better. */
  occurredAt: Date;
}

export function refetchInventory(on: Knex, accountId: string): Promise<void> {
  return enqueue(on, FETCH_INVENTORY, { accountId, attempt: 1 }, { key: jobKey(FETCH_INVENTORY, accountId) });
}

/** Also after any call for a device that Ring answers 404: whether it is gone altogether, this finds out. */
export function refetchDevice(on: Knex, { accountId, deviceId, occurredAt }: DeviceReference): Promise<void> {
  const job = { accountId, deviceId, occurredAt, attempt: 1 };
  return enqueue(on, FETCH_DEVICE, job, { key: jobKey(FETCH_DEVICE, accountId, deviceId) });
}

export function refetchSubscriptions(on: Knex, accountId: string): Promise<void> {
  return enqueue(on, FETCH_SUBSCRIPTIONS, { accountId, attempt: 1 }, { key: jobKey(FETCH_SUBSCRIPTIONS, accountId) });
}
