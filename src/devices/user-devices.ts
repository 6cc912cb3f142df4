import type { Knex } from 'knex';
import { row, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { HttpError } from '../http/errors.js';
import { IS_LIVE, IS_USABLE } from '../ring-accounts/link-conditions.js';
import type { Location } from '../ring/devices.js';
import { ringId } from '../ring/text.js';

type DeviceRow = Tables['devices'];

/** A device as the user may see it whose link brought it. A fact that Ring has not told is null. */
export interface UserDevice {
  /** Ring's */
  id: DeviceRow['id'];
  accountId: DeviceRow['account_id'];
  linkId: Tables['account_links']['id'];
  name: DeviceRow['name'];
  online: DeviceRow['online'];
  /** When Ring last said whether it is online. */
  onlineAt: DeviceRow['online_at'];
  /** Since when that is so, if it is known. */
  onlineSince: DeviceRow['online_since'];
  location: Location | null;
}

const COLUMNS = sql`device.id, device.account_id AS "accountId", link.id AS "linkId", device.name, device.online,
  device.online_at AS "onlineAt", device.online_since AS "onlineSince", device.location`;

/** SQL: devices that are shared with us, and the link on whose behalf Ring is asked about them. */
export const SHARED_DEVICES = sql`account_links link JOIN devices device
  ON device.account_id = link.account_id AND link.${IS_USABLE} AND device.removed_at IS NULL`;

/**
 * SQL: until the end of the transaction the device stays shared, and no other transaction gets this lock. The link is
 * locked first, as the end of a link does it, so that no two wait for each other.
 */
export const LOCK_SHARED = sql`FOR SHARE OF link FOR NO KEY UPDATE OF device`;

/**
 * The device with this ID that the user shares with us by a completed link. Undefined for an unknown one, a removed one
 * and someone else's, so that they can't be told apart.
 *
 * @param deviceId as it stood in the address: hostile
 */
function findDeviceOfUser(db: Knex, userId: string, deviceId: string): Promise<UserDevice | undefined> {
  return select(db, userId, deviceId, sql``);
}

/**
 * The device with this ID that the user shares with us.
 *
 * @throws {HttpError} 404; 409 when Ring does not let us see it at the moment
 */
export async function requireDeviceOfUser(db: Knex, userId: string, deviceId: string): Promise<UserDevice> {
  const device = await findDeviceOfUser(db, userId, deviceId);
  if (device !== undefined) return device;
  const hidden =
    ringId.safeParse(deviceId).success &&
    (await row(
      db,
      sql`SELECT 1 FROM account_links link JOIN devices device ON device.account_id = link.account_id
           WHERE link.user_id = ${userId} AND link.${IS_LIVE} AND device.id = ${deviceId} AND device.removed_at IS NULL
           LIMIT 1`,
    ));
  throw hidden ? hiddenDevice() : noSuchDevice();
}

const hiddenDevice = (): HttpError =>
  new HttpError(
    409,
    'Ring does not let us see this device at the moment. If its Ring account has to be linked again, your home page says how.',
  );

/** As {@link findDeviceOfUser}, and the device stays as it is until the end of the transaction. */
export function lockDeviceOfUser(
  trx: Knex.Transaction,
  userId: string,
  deviceId: string,
): Promise<UserDevice | undefined> {
  return select(trx, userId, deviceId, LOCK_SHARED);
}

async function select(on: Knex, userId: string, deviceId: string, lock: Sql): Promise<UserDevice | undefined> {
  if (!ringId.safeParse(deviceId).success) return undefined;
  // Ring's IDs are unique within one Ring account. Should two of a user's share one, the same is chosen every time.
  return row<UserDevice>(
    on,
    sql`SELECT ${COLUMNS} FROM ${SHARED_DEVICES} WHERE link.user_id = ${userId} AND device.id = ${deviceId}
         ORDER BY link.created_at, link.id LIMIT 1 ${lock}`,
  );
}

/** The answer for every device that the user may not see, whatever the reason; see {@link findDeviceOfUser}. */
export const noSuchDevice = (cause?: unknown): HttpError =>
  new HttpError(404, 'There is no such device, or it is no longer shared in the Ring app.', { cause });

/** The answer for what a device offers when no subscription covers it. */
export const uncoveredDevice = (): HttpError =>
  new HttpError(
    403,
    'This needs an active subscription that covers the device. Get or renew it in the Ring app; this app follows by itself.',
  );
