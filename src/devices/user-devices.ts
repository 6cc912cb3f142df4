import type { Knex } from 'knex';
import { row, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isLive, isUsable } from '../ring-accounts/link-conditions.js';
import type { Capabilities, Location } from '../ring/devices.js';
import { ringId } from '../ring/text.js';
import type { WithAbilities } from './device-kind.js';
import type { SensorStates } from './sensors.js';

type DeviceRow = Tables['devices'];

/** A device as the user may see it whose link brought it. A fact that Ring has not told is null. */
export interface UserDevice extends WithAbilities {
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
  capabilities: Capabilities | null;
  sensors: SensorStates | null;
}

const COLUMNS = sql`device.id, device.account_id AS "accountId", link.id AS "linkId", device.name, device.online,
  device.online_at AS "onlineAt", device.online_since AS "onlineSince", device.location,
  device.capabilities, device.is_doorbell AS "isDoorbell", device.sensors`;

/** SQL: devices that are shared with us, and the link on whose behalf Ring is asked about them. */
export const SHARED_DEVICES = sql`account_links link JOIN devices device
  ON device.account_id = link.account_id AND ${isUsable('link')} AND device.removed_at IS NULL`;

/**
 * SQL: until the end of the transaction the device stays shared, and no other transaction gets this lock. The link is
 * locked first, as the end of a link does it, so that no two wait for each other.
 */
export const LOCK_SHARED = sql`FOR SHARE OF link FOR NO KEY UPDATE OF device`;

/**
 * - `hidden`: it is the user's, and Ring does not let us see it at the moment.
 * - `none`: it is unknown, removed or someone else's. These can't be told apart.
 */
export type DeviceOfUser = { kind: 'shared'; device: UserDevice } | { kind: 'hidden' } | { kind: 'none' };

/**
 * Finds the device with this ID that the user shares with us by a completed link.
 *
 * @param deviceId as it stood in the address: hostile
 */
export async function findDeviceOfUser(db: Knex, userId: string, deviceId: string): Promise<DeviceOfUser> {
  const device = await select(db, userId, deviceId, sql``);
  if (device !== undefined) return { kind: 'shared', device };
  const hidden =
    ringId.safeParse(deviceId).success &&
    (await row(
      db,
      sql`SELECT 1 FROM account_links link JOIN devices device ON device.account_id = link.account_id
           WHERE link.user_id = ${userId} AND ${isLive('link')} AND device.id = ${deviceId} AND device.removed_at IS NULL
           LIMIT 1`,
    ));
  return { kind: hidden ? 'hidden' : 'none' };
}

/** The device if it is shared. It stays as it is until the end of the transaction. See {@link findDeviceOfUser}. */
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
