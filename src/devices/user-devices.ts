import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { IS_LIVE, IS_USABLE } from '../ring-accounts/link-conditions.js';
import { HttpError } from '../http/errors.js';
import type { Location } from '../ring/devices.js';
import { ringId } from '../ring/text.js';

/** A device as the user may see it whose link brought it. What Ring has not told is null. */
export interface UserDevice {
  /** Ring's */
  id: string;
  accountId: string;
  linkId: string;
  name: string | null;
  online: boolean | null;
  /** When Ring last said so. */
  onlineAt: Date | null;
  /** Since when, if that is known. */
  onlineSince: Date | null;
  location: Location | null;
}

const COLUMNS = `device.id, device.account_id AS "accountId", link.id AS "linkId", device.name, device.online,
                 device.online_at AS "onlineAt", device.online_since AS "onlineSince", device.location`;

/** SQL: devices that are shared with us, and the link on whose behalf Ring is asked about them. */
export const SHARED_DEVICES = `account_links link JOIN devices device
  ON device.account_id = link.account_id AND link.${IS_USABLE} AND device.removed_at IS NULL`;

/**
 * SQL: until the end of the transaction the device stays shared, and nobody else who asks for this lock goes on. The link
 * first, as whoever ends a link does: nobody waits in a circle.
 */
export const LOCK_SHARED = 'FOR SHARE OF link FOR NO KEY UPDATE OF device';

/**
 * The device with this ID that the user shares with us by a completed link. Undefined for an unknown one, a removed one
 * and someone else's: nobody can tell them apart.
 *
 * @param deviceId as it stood in the address: hostile
 */
function findDeviceOfUser(db: Knex, userId: string, deviceId: string): Promise<UserDevice | undefined> {
  return select(db, userId, deviceId, '');
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
      `SELECT 1 FROM account_links link JOIN devices device ON device.account_id = link.account_id
        WHERE link.user_id = ? AND link.${IS_LIVE} AND device.id = ? AND device.removed_at IS NULL LIMIT 1`,
      [userId, deviceId],
    ));
  throw hidden ? hiddenDevice() : noSuchDevice();
}

const hiddenDevice = (): HttpError =>
  new HttpError(
    409,
    'Ring does not let us see this device at the moment. If its Ring account has to be linked again, your home page says how.',
  );

/** As {@link findDeviceOfUser}, and the device stays as it is until the end of the transaction. */
export function lockDeviceOfUser(trx: Knex, userId: string, deviceId: string): Promise<UserDevice | undefined> {
  return select(trx, userId, deviceId, LOCK_SHARED);
}

async function select(on: Knex, userId: string, deviceId: string, lock: string): Promise<UserDevice | undefined> {
  if (!ringId.safeParse(deviceId).success) return undefined;
  // IDs are Ring's for one account; of two accounts that share one, always the same is meant.
  return row<UserDevice>(
    on,
    `SELECT ${COLUMNS} FROM ${SHARED_DEVICES} WHERE link.user_id = ? AND device.id = ?
      ORDER BY link.created_at, link.id LIMIT 1 ${lock}`,
    [userId, deviceId],
  );
}

/** To its user's eyes; see {@link findDeviceOfUser}. */
export const noSuchDevice = (cause?: unknown): HttpError =>
  new HttpError(404, 'There is no such device, or it is no longer shared in the Ring app.', { cause });
