import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { mayHaveVideo } from '../devices/device-kind.js';
import { beginHistory } from '../events/history-rows.js';
import { jobKey } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import { inLinkedAccount } from '../ring-accounts/linked-account.js';
import {
  type DeviceReference,
  FETCH_DEVICE,
  FETCH_INVENTORY,
  FETCH_STATUS,
  refetchDevice,
} from '../ring-accounts/refetch.js';
import type { RingDevice } from '../ring/devices.js';
import { isGone, RingError } from '../ring/errors.js';
import { NoLinkError } from '../tokens/errors.js';
import { markAdded, missingFrom, recordFetchError, storeAnswer } from './device-rows.js';
import { removeDevice } from './removal.js';
import { type Asked, storeStatus } from './status.js';

type InventoryCore = Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'linkClockSkewSeconds'>;

const attempt = z.number().int().min(1);
const InventoryPayload = z.object({ accountId: z.string(), attempt });
const DevicePayload = z.object({
  accountId: z.string(),
  deviceId: z.string(),
  occurredAt: z.coerce.date(),
  attempt,
});

/** Ring lets us see the device from now on, unless it was removed later than this happened. A job asks what it is. */
export async function addDevice(trx: Knex.Transaction, device: DeviceReference): Promise<void> {
  if (await markAdded(trx, device)) await refetchDevice(trx, device);
}

const StatusPayload = z.object({ accountId: z.string(), deviceId: z.string(), attempt });

/** Asks Ring for one device and stores the answer. That the device is gone is an answer too. */
export async function fetchDevice(core: InventoryCore, payload: unknown): Promise<void> {
  const job = DevicePayload.parse(payload);
  const { accountId, deviceId, occurredAt } = job;
  const { db, ring, tokens, clock } = core;
  const askedAt = ringTime(core);
  try {
    const device = await tokens.forAccount(accountId, (accessToken) => ring.getDevice(accessToken, deviceId));
    await inLinkedAccount(db, accountId, (trx) => storeDevice(trx, accountId, device, asked(core, askedAt)));
  } catch (error) {
    if (error instanceof NoLinkError) return;
    if (isGone(error)) {
      await inLinkedAccount(db, accountId, (trx) =>
        removeDevice(trx, {
          accountId,
          deviceId,
          unlessAddedAfter: occurredAt,
          occurredAt: new Date(Math.max(occurredAt.getTime(), askedAt.getTime())),
          reason: 'not found at Ring',
          now: clock(),
        }),
      );
      return;
    }
    if (error instanceof RingError) await recordFetchError(db, { accountId, deviceId }, error.reason);
    await retryRingCall(core, FETCH_DEVICE, job, jobKey(FETCH_DEVICE, accountId, deviceId), error);
  }
}

/**
 * Asks Ring for all devices of a Ring account and stores the answer. A device that we know and Ring does not list is asked
 * for by itself: a list that lacks it is no proof that it is gone.
 */
export async function fetchInventory(core: InventoryCore, payload: unknown): Promise<void> {
  const job = InventoryPayload.parse(payload);
  const { accountId } = job;
  const { db, ring, tokens } = core;
  const askedAt = ringTime(core);
  try {
    const devices = await tokens.forAccount(accountId, (accessToken) => ring.getDevices(accessToken));
    await inLinkedAccount(db, accountId, async (trx) => {
      for (const device of devices) await storeDevice(trx, accountId, device, asked(core, askedAt));
      for (const deviceId of await missingFrom(trx, accountId, devices)) {
        await refetchDevice(trx, { accountId, deviceId, occurredAt: askedAt });
      }
    });
  } catch (error) {
    if (error instanceof NoLinkError) return;
    if (error instanceof RingError) await recordFetchError(db, { accountId }, error.reason);
    await retryRingCall(core, FETCH_INVENTORY, job, jobKey(FETCH_INVENTORY, accountId), error);
  }
}

/** Asks Ring for the status of one device and stores the answer. */
export async function fetchStatus(core: InventoryCore, payload: unknown): Promise<void> {
  const job = StatusPayload.parse(payload);
  const { accountId, deviceId } = job;
  const { db, ring, tokens } = core;
  const askedAt = ringTime(core);
  try {
    const status = await tokens.forAccount(accountId, (accessToken) => ring.getDeviceStatus(accessToken, deviceId));
    await inLinkedAccount(db, accountId, (trx) => storeStatus(trx, job, status, asked(core, askedAt)));
  } catch (error) {
    if (error instanceof NoLinkError) return;
    if (isGone(error)) await refetchDevice(db, { accountId, deviceId, occurredAt: askedAt });
    else await retryRingCall(core, FETCH_STATUS, job, jobKey(FETCH_STATUS, accountId, deviceId), error);
  }
}

/** The earliest time that Ring's clock may show now. An answer that Ring gives now is certainly not older. */
function ringTime({ clock, linkClockSkewSeconds }: Pick<Core, 'clock' | 'linkClockSkewSeconds'>): Date {
  return new Date(clock().getTime() - linkClockSkewSeconds * 1_000);
}

const asked = ({ clock, linkClockSkewSeconds }: InventoryCore, askedAt: Date): Asked => ({
  askedAt,
  now: clock(),
  clockSkewMs: linkClockSkewSeconds * 1_000,
});

async function storeDevice(trx: Knex.Transaction, accountId: string, device: RingDevice, when: Asked): Promise<void> {
  const { id: deviceId, status } = device;
  if (!(await storeAnswer(trx, accountId, device, when.askedAt))) return;
  // Sensors are not in Ring's history.
  const isInHistory = mayHaveVideo({ capabilities: device.capabilities ?? null });
  if (isInHistory) await beginHistory(trx, { accountId, deviceId }, when.now);
  if (status !== undefined) await storeStatus(trx, { accountId, deviceId }, status, when);
}
