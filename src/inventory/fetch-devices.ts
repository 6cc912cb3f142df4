import type { Knex } from 'knex';
import { z } from 'zod';
import { row, rows } from '../database/database.js';
import { jobKey } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import type { RingDevice } from '../ring/devices.js';
import { isGone, RingError } from '../ring/errors.js';
import { NoLinkError } from '../tokens/errors.js';
import { inLinkedAccount } from '../ring-accounts/linked-account.js';
import { setOnline } from './online.js';
import { type DeviceReference, FETCH_DEVICE, FETCH_INVENTORY, refetchDevice } from '../ring-accounts/refetch.js';
import { removeDevice } from './removal.js';
import type { Core } from '../core.js';

export type InventoryDependencies = Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'linkClockSkewSeconds'>;

const attempt = z.number().int().min(1);
const InventoryPayload = z.object({ accountId: z.string(), attempt });
const DevicePayload = z.object({
  accountId: z.string(),
  deviceId: z.string(),
  occurredAt: z.coerce.date(),
  attempt,
});

/** Ring lets us see the device from now on, unless it was removed later than this happened. What it is, a job asks. */
export async function addDevice(trx: Knex, device: DeviceReference): Promise<void> {
  const added = await row(
    trx,
    `INSERT INTO devices AS device (account_id, id, added_at) VALUES (?, ?, ?)
     ON CONFLICT (account_id, id) DO UPDATE
        SET added_at = greatest(device.added_at, excluded.added_at), removed_at = NULL
      WHERE device.removed_at IS NULL OR device.removed_at <= excluded.added_at
     RETURNING 1`,
    [device.accountId, device.deviceId, device.occurredAt],
  );
  if (added !== undefined) await refetchDevice(trx, device);
}

/** Asks Ring for one device and stores what it says; that it is gone is an answer too. */
export async function fetchDevice(dependencies: InventoryDependencies, payload: unknown): Promise<void> {
  const job = DevicePayload.parse(payload);
  const { accountId, deviceId, occurredAt } = job;
  const { db, ring, tokens, clock } = dependencies;
  const askedAt = ringTime(dependencies);
  try {
    const device = await tokens.forAccount(accountId, (accessToken) => ring.getDevice(accessToken, deviceId));
    await inLinkedAccount(db, accountId, (trx) => storeDevice(trx, accountId, device, { askedAt, now: clock() }));
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
    await noteFailure(db, accountId, error, deviceId);
    await retryRingCall(dependencies, FETCH_DEVICE, job, jobKey(FETCH_DEVICE, accountId, deviceId), error);
  }
}

/**
 * Asks Ring for all devices of an account and stores what it says. A device that we know and Ring does not list is asked
 * for by itself: a list that lacks it is no proof that it is gone.
 */
export async function fetchInventory(dependencies: InventoryDependencies, payload: unknown): Promise<void> {
  const job = InventoryPayload.parse(payload);
  const { accountId } = job;
  const { db, ring, tokens, clock } = dependencies;
  const askedAt = ringTime(dependencies);
  try {
    const devices = await tokens.forAccount(accountId, (accessToken) => ring.getDevices(accessToken));
    await inLinkedAccount(db, accountId, async (trx) => {
      for (const device of devices) await storeDevice(trx, accountId, device, { askedAt, now: clock() });
      for (const deviceId of await missingFrom(trx, accountId, devices)) {
        await refetchDevice(trx, { accountId, deviceId, occurredAt: askedAt });
      }
    });
  } catch (error) {
    if (error instanceof NoLinkError) return;
    await noteFailure(db, accountId, error);
    await retryRingCall(dependencies, FETCH_INVENTORY, job, jobKey(FETCH_INVENTORY, accountId), error);
  }
}

/** The present as Ring's clock shows it at the earliest: what Ring answers now is certainly not older. */
function ringTime({ clock, linkClockSkewSeconds }: InventoryDependencies): Date {
  return new Date(clock().getTime() - linkClockSkewSeconds * 1_000);
}

interface Told {
  /** When Ring was asked, by its own clock: its answer is not older than that. */
  askedAt: Date;
  now: Date;
}

async function storeDevice(trx: Knex, accountId: string, device: RingDevice, { askedAt, now }: Told): Promise<void> {
  // New to us, or back.
  await trx.raw(
    `INSERT INTO devices AS device (account_id, id) VALUES (?, ?)
     ON CONFLICT (account_id, id) DO UPDATE SET removed_at = NULL WHERE device.removed_at < ?`,
    [accountId, device.id, askedAt],
  );
  const stored = await row(
    trx,
    `UPDATE devices SET name = ?, capabilities = ?, configurations = ?, location = ?, fetched_at = ?, fetch_error = NULL
      WHERE account_id = ? AND id = ? AND removed_at IS NULL AND (fetched_at IS NULL OR fetched_at <= ?)
     RETURNING 1`,
    [
      device.name,
      toJson(device.capabilities),
      toJson(device.configurations),
      toJson(device.location),
      askedAt,
      accountId,
      device.id,
      askedAt,
    ],
  );
  if (stored === undefined || device.online === undefined) return;
  await setOnline(trx, { accountId, deviceId: device.id, online: device.online, at: askedAt, isChange: false, now });
}

async function missingFrom(trx: Knex, accountId: string, devices: readonly RingDevice[]): Promise<string[]> {
  const missing = await rows<{ id: string }>(
    trx,
    `SELECT id FROM devices WHERE account_id = ? AND removed_at IS NULL AND id <> ALL (?::text[])`,
    [accountId, devices.map(({ id }) => id)],
  );
  return missing.map(({ id }) => id);
}

async function noteFailure(db: Knex, accountId: string, error: unknown, deviceId?: string): Promise<void> {
  if (!(error instanceof RingError)) return;
  const scope = deviceId === undefined ? [accountId, null] : [accountId, deviceId];
  await db.raw(
    'UPDATE devices SET fetch_error = ? WHERE account_id = ? AND id = coalesce(?, id) AND removed_at IS NULL',
    [error.reason, ...scope],
  );
}

const toJson = (value: object | undefined): string | null => (value === undefined ? null : JSON.stringify(value));
