import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { row, rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import type { UserDevice } from '../devices/user-devices.js';
import type { SensorStates } from '../devices/sensors.js';
import type { Coverage } from '../ring-accounts/coverage.js';
import { type DeviceKey, these } from '../ring-accounts/device-scope.js';
import { isApplied } from '../ring-accounts/link-conditions.js';
import type { DeviceReference } from '../ring-accounts/refetch.js';
import type { RingDevice } from '../ring/devices.js';

/** A row of `devices`. All its transitions stand in this file. */
type DeviceRow = Tables['devices'];

/**
 * Notes that Ring lets us see a device from this time on.
 *
 * @returns false when it was removed later
 */
export async function markAdded(
  trx: Knex.Transaction,
  { accountId, deviceId, occurredAt }: DeviceReference,
): Promise<boolean> {
  const added = await run(
    trx,
    sql`INSERT INTO devices AS device (account_id, id, added_at) VALUES (${accountId}, ${deviceId}, ${occurredAt})
        ON CONFLICT (account_id, id) DO UPDATE
           SET added_at = greatest(device.added_at, excluded.added_at), removed_at = NULL
         WHERE device.removed_at IS NULL OR device.removed_at <= excluded.added_at`,
  );
  return added > 0;
}

/**
 * Stores a device as Ring has told it. A device that was removed before Ring was asked is back, and one that has rung before
 * it was known is a doorbell.
 *
 * @param askedAt when Ring was asked, by its own clock
 * @returns false when a newer answer, or a later removal, is stored already
 */
export async function storeAnswer(
  trx: Knex.Transaction,
  accountId: string,
  device: RingDevice,
  askedAt: Date,
): Promise<boolean> {
  const { id, name, capabilities, configurations, location } = device;
  await run(
    trx,
    sql`INSERT INTO devices AS device (account_id, id) VALUES (${accountId}, ${id})
        ON CONFLICT (account_id, id) DO UPDATE SET removed_at = NULL WHERE device.removed_at < ${askedAt}`,
  );
  const stored = await run(
    trx,
    sql`UPDATE devices
           SET name = ${name}, capabilities = ${toJson(capabilities)}, configurations = ${toJson(configurations)},
               location = ${toJson(location)},
               is_doorbell = is_doorbell OR EXISTS (
                 SELECT 1 FROM device_events
                  WHERE account_id = ${accountId} AND device_id = ${id} AND type = 'button_press'),
               fetched_at = ${askedAt}, fetch_error = NULL
         WHERE account_id = ${accountId} AND id = ${id} AND removed_at IS NULL
           AND (fetched_at IS NULL OR fetched_at <= ${askedAt})`,
  );
  return stored > 0;
}

const toJson = (value: object | undefined): string | null => (value === undefined ? null : JSON.stringify(value));

/** Notes why Ring did not tell of a device, or of all devices of a Ring account. */
export async function recordFetchError(
  db: Knex,
  { accountId, deviceId }: { accountId: string; deviceId?: string },
  error: string,
): Promise<void> {
  await run(
    db,
    sql`UPDATE devices SET fetch_error = ${error}
         WHERE account_id = ${accountId} AND id = coalesce(${deviceId ?? null}, id) AND removed_at IS NULL`,
  );
}

/** What is known of whether a device is online. */
export type OnlineRow = Pick<
  DeviceRow,
  'account_id' | 'id' | 'name' | 'online' | 'online_at' | 'online_since' | 'removed_at'
>;

/** Locks devices until the end of the transaction. @returns those that are known */
export function lockOnline(trx: Knex.Transaction, devices: readonly DeviceKey[]): Promise<OnlineRow[]> {
  return rows(
    trx,
    sql`SELECT account_id, id, name, online, online_at, online_since, removed_at FROM devices
         WHERE (account_id, id) IN ${these(devices)} ORDER BY account_id, id FOR NO KEY UPDATE`,
  );
}

/** Stores whether devices are online, which the caller has locked if they were known. */
export async function storeOnline(
  trx: Knex.Transaction,
  states: readonly Omit<OnlineRow, 'name' | 'removed_at'>[],
): Promise<void> {
  await run(
    trx,
    sql`INSERT INTO devices AS device (account_id, id, online, online_at, online_since)
        SELECT * FROM unnest(${states.map(({ account_id }) => account_id)}::text[], ${states.map(({ id }) => id)}::text[],
                             ${states.map(({ online }) => online)}::boolean[],
                             ${states.map(({ online_at }) => online_at)}::timestamptz[],
                             ${states.map(({ online_since }) => online_since)}::timestamptz[])
        ON CONFLICT (account_id, id) DO UPDATE
           SET online = excluded.online, online_at = excluded.online_at, online_since = excluded.online_since
         WHERE device.removed_at IS NULL`,
  );
}

/** Notes that somebody has pressed the buttons of devices. */
export async function markDoorbells(trx: Knex.Transaction, devices: readonly DeviceKey[]): Promise<void> {
  await run(
    trx,
    sql`UPDATE devices SET is_doorbell = true
         WHERE (account_id, id) IN ${these(devices)} AND removed_at IS NULL AND NOT is_doorbell`,
  );
}

/**
 * Locks the sensors of a device until the end of the transaction. A device that is not known yet is added without a name.
 *
 * @returns undefined when the device was removed
 */
export async function lockSensors(
  trx: Knex.Transaction,
  { accountId, deviceId }: DeviceKey,
): Promise<{ name: DeviceRow['name']; sensors: SensorStates } | undefined> {
  await run(trx, sql`INSERT INTO devices (account_id, id) VALUES (${accountId}, ${deviceId}) ON CONFLICT DO NOTHING`);
  return row(
    trx,
    sql`SELECT name, coalesce(sensors, '{}') AS sensors FROM devices
         WHERE account_id = ${accountId} AND id = ${deviceId} AND removed_at IS NULL FOR UPDATE`,
  );
}

/** Stores the sensors of a device, which the caller has locked. */
export async function storeSensors(
  trx: Knex.Transaction,
  { accountId, deviceId }: DeviceKey,
  sensors: SensorStates,
): Promise<void> {
  await run(
    trx,
    sql`UPDATE devices SET sensors = ${JSON.stringify(sensors)} WHERE account_id = ${accountId} AND id = ${deviceId}`,
  );
}

/** Notes that Ring was asked for the status of a device, and answered. */
export async function markStatusFetched(
  trx: Knex.Transaction,
  { accountId, deviceId }: DeviceKey,
  askedAt: Date,
): Promise<void> {
  await run(
    trx,
    sql`UPDATE devices SET status_fetched_at = greatest(status_fetched_at, ${askedAt})
         WHERE account_id = ${accountId} AND id = ${deviceId} AND removed_at IS NULL`,
  );
}

/** Locks a device until the end of the transaction. */
export function lockDevice(
  trx: Knex.Transaction,
  accountId: string,
  deviceId: string,
): Promise<Pick<DeviceRow, 'removed_at' | 'added_at' | 'fetched_at'> | undefined> {
  return row(
    trx,
    sql`SELECT removed_at, added_at, fetched_at FROM devices
         WHERE account_id = ${accountId} AND id = ${deviceId} FOR UPDATE`,
  );
}

/**
 * Marks a device as removed. Its name and the time stay, so that its user can be told. Should it come back, what happened
 * before this stays erased.
 */
export async function markRemoved(
  trx: Knex.Transaction,
  { accountId, deviceId, occurredAt }: DeviceReference,
): Promise<void> {
  await run(
    trx,
    sql`INSERT INTO devices AS device (account_id, id, removed_at, void_before)
        VALUES (${accountId}, ${deviceId}, ${occurredAt}, ${occurredAt})
        ON CONFLICT (account_id, id) DO UPDATE
           SET removed_at = greatest(device.removed_at, excluded.removed_at),
               void_before = greatest(device.void_before, excluded.void_before), online = NULL, online_at = NULL,
               online_since = NULL, capabilities = NULL, configurations = NULL, location = NULL, added_at = NULL,
               fetched_at = NULL, fetch_error = NULL, has_event_pictures = false, pictures_deleted_until = NULL,
               is_doorbell = false, sensors = NULL, status_fetched_at = NULL, uncovered_since = NULL`,
  );
}

/** Notes whether the events of a device get their pictures by themselves, as its user wants. */
export async function setEventPictures(db: Knex, { accountId, id }: UserDevice, isOn: boolean): Promise<void> {
  await run(
    db,
    sql`UPDATE devices SET has_event_pictures = ${isOn}
         WHERE account_id = ${accountId} AND id = ${id} AND removed_at IS NULL`,
  );
}

/** Notes that the user has deleted a picture of a device: no schedule brings it back. */
export async function markPictureDeleted(
  trx: Knex.Transaction,
  { accountId, id }: UserDevice,
  takenAt: Date,
): Promise<void> {
  await run(
    trx,
    sql`UPDATE devices SET pictures_deleted_until = greatest(pictures_deleted_until, ${takenAt})
         WHERE account_id = ${accountId} AND id = ${id} AND removed_at IS NULL`,
  );
}

/** How long Ring may take to tell that a subscription was renewed whose date has passed. Until then nothing is erased. */
const RENEWAL_MS = 5 * 60_000;

/**
 * SQL: what is noted of a `device` of a `link` is not what holds now. It counts as uncovered only once Ring has answered:
 * what was stored before a subscription was required is not erased unasked.
 */
function isOutOfStep({ covers }: Coverage, now: Date): Sql {
  const columns = { accountId: sql`device.account_id`, deviceId: sql`device.id` };
  return sql`
    (device.removed_at IS NULL
     AND (device.uncovered_since IS NOT NULL AND ${covers(columns, now)}
          OR device.uncovered_since IS NULL AND link.subscriptions_answered_at IS NOT NULL
             AND NOT ${covers(columns, new Date(now.getTime() - RENEWAL_MS))}))`;
}

/** The Ring accounts with devices that have lost or regained their coverage, `limit` at most. */
export async function accountsOutOfStep(db: Knex, coverage: Coverage, now: Date, limit: number): Promise<string[]> {
  const found = await rows<Pick<DeviceRow, 'account_id'>>(
    db,
    sql`SELECT DISTINCT device.account_id
          FROM account_links AS link JOIN devices AS device USING (account_id)
         WHERE ${isApplied('link')} AND ${isOutOfStep(coverage, now)} LIMIT ${limit}`,
  );
  return found.map(({ account_id }) => account_id);
}

/** Notes for the devices of a linked account whether they are covered. @returns those for which that has changed */
export function changeCoverage(
  trx: Knex.Transaction,
  coverage: Coverage,
  accountId: string,
  now: Date,
): Promise<Pick<DeviceRow, 'id' | 'online' | 'uncovered_since'>[]> {
  return rows(
    trx,
    sql`UPDATE devices AS device
           SET uncovered_since = CASE WHEN device.uncovered_since IS NULL THEN ${now}::timestamptz END
          FROM account_links AS link
         WHERE link.account_id = device.account_id AND ${isApplied('link')} AND device.account_id = ${accountId}
           AND ${isOutOfStep(coverage, now)}
        RETURNING device.id, device.online, device.uncovered_since`,
  );
}

/** @returns the devices of a Ring account that are stored, and not among `present` */
export async function missingFrom(
  trx: Knex.Transaction,
  accountId: string,
  present: readonly RingDevice[],
): Promise<string[]> {
  const missing = await rows<Pick<DeviceRow, 'id'>>(
    trx,
    sql`SELECT id FROM devices
         WHERE account_id = ${accountId} AND removed_at IS NULL AND id <> ALL (${present.map(({ id }) => id)}::text[])`,
  );
  return missing.map(({ id }) => id);
}

export async function eraseDevices(trx: Knex.Transaction, accountId: string): Promise<void> {
  await run(trx, sql`DELETE FROM devices WHERE account_id = ${accountId}`);
}

/** Long enough for a user to read that it was removed. */
const REMOVED_DEVICE_DAYS = 30;

/** Purges devices that were removed more than 30 days ago. */
export async function purgeRemovedDevices({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const oldest = new Date(clock().getTime() - REMOVED_DEVICE_DAYS * 86_400_000);
  await run(db, sql`DELETE FROM devices WHERE removed_at < ${oldest}`);
}
