import type { Knex } from 'knex';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { refetchDevice, refetchInventory, refetchStatus } from '../ring-accounts/refetch.js';
import type { Capabilities, Configurations } from '../ring/devices.js';
import type { ListedDevice } from './device-list.js';
import { sensorsOf } from './sensors.js';
import type { UserDevice } from './user-devices.js';

/** Facts that Ring has told of a device beyond its name and status. A fact that it has not told is null. */
export interface DeviceDetails {
  capabilities: Capabilities | null;
  configurations: Configurations | null;
  /** Whether its events get their pictures by themselves: its user's wish, not Ring's word. */
  hasEventPictures: boolean;
  /** When Ring was last asked and answered. */
  fetchedAt: Tables['devices']['fetched_at'];
  /** When Ring was last asked for the status, and answered. */
  statusFetchedAt: Tables['devices']['status_fetched_at'];
  /** Whether it was asked since then, without success. */
  isOutdated: boolean;
}

const NOTHING: DeviceDetails = {
  capabilities: null,
  configurations: null,
  hasEventPictures: false,
  fetchedAt: null,
  statusFetchedAt: null,
  isOutdated: false,
};

/**
 * The details of a device of the user's. They are taken as they are stored, and not checked again: the schemas of
 * ring/devices.ts have let them through, and the texts in them are escaped where they are shown.
 */
export async function detailsOf(db: Knex, { accountId, id }: UserDevice): Promise<DeviceDetails> {
  const details = await row<DeviceDetails>(
    db,
    sql`SELECT capabilities, configurations, has_event_pictures AS "hasEventPictures", fetched_at AS "fetchedAt",
               status_fetched_at AS "statusFetchedAt", fetch_error IS NOT NULL AS "isOutdated"
          FROM devices WHERE account_id = ${accountId} AND id = ${id} AND removed_at IS NULL`,
  );
  // The device was removed since it was found: its page is still shown this once.
  return details ?? NOTHING;
}

/** Changes in the Ring app, of zones for example, are told by no webhook. */
const OLD_AFTER_MS = 10 * 60_000;

/** People look at a sensor because they worry, and its webhooks may be late. */
const STATUS_OLD_AFTER_MS = 60_000;

const isOlder = (time: Date | null, ageMs: number, now: Date): boolean =>
  time === null || now.getTime() - time.getTime() >= ageMs;

/**
 * Has Ring asked about a device that a user looks at, unless Ring was asked lately or is being asked again anyway. Its
 * sensors get old sooner than the rest.
 */
export async function refetchIfOld(
  db: Knex,
  device: UserDevice,
  { fetchedAt, statusFetchedAt, isOutdated }: DeviceDetails,
  now: Date,
): Promise<void> {
  const { accountId, id: deviceId } = device;
  if (isOutdated) return;
  if (isOlder(fetchedAt, OLD_AFTER_MS, now)) await refetchDevice(db, { accountId, deviceId, occurredAt: now });
  else if (isOlder(statusFetchedAt, STATUS_OLD_AFTER_MS, now) && sensorsOf(device).length > 0)
    await refetchStatus(db, { accountId, deviceId });
}

/** As {@link refetchIfOld}, for the sensors in a list. One question for each Ring account is enough for all of its devices. */
export async function refetchOldSensors(db: Knex, devices: readonly ListedDevice[], now: Date): Promise<void> {
  const old = devices.filter(
    (device) =>
      device.isShared &&
      !device.isOutdated &&
      isOlder(device.statusFetchedAt, STATUS_OLD_AFTER_MS, now) &&
      sensorsOf(device).length > 0,
  );
  for (const accountId of new Set(old.map((device) => device.accountId))) await refetchInventory(db, accountId);
}
