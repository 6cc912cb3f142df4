import type { Knex } from 'knex';
import { rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isApplied, isUsable } from '../ring-accounts/link-conditions.js';
import type { Capabilities } from '../ring/devices.js';
import type { WithAbilities } from './device-kind.js';
import type { SensorStates } from './sensors.js';

type DeviceRow = Tables['devices'];

/** A device as the home page lists it. Removed ones are listed too, so that their user learns of it. */
export interface ListedDevice extends WithAbilities {
  /** Ring's */
  id: DeviceRow['id'];
  accountId: DeviceRow['account_id'];
  linkId: Tables['account_links']['id'];
  /** Whether its page can be opened: the device is there, and its link usable. */
  isShared: boolean;
  /** Null until Ring has told it. */
  name: DeviceRow['name'];
  online: DeviceRow['online'];
  /** When Ring last said whether it is online. */
  onlineAt: DeviceRow['online_at'];
  /** Since when that is so, if it is known. */
  onlineSince: DeviceRow['online_since'];
  /** Whether Ring was asked about it since it last answered, without success. */
  isOutdated: boolean;
  capabilities: Capabilities | null;
  sensors: SensorStates | null;
  /** When Ring was last asked for its status, and answered. */
  statusFetchedAt: DeviceRow['status_fetched_at'];
  removedAt: DeviceRow['removed_at'];
}

/** The devices of all standing links of a user, by name; removed ones come last. */
export function listDevices(db: Knex, userId: string): Promise<ListedDevice[]> {
  return rows<ListedDevice>(
    db,
    sql`SELECT device.id, device.account_id AS "accountId", link.id AS "linkId", device.name, device.online,
               device.online_at AS "onlineAt", device.capabilities, device.is_doorbell AS "isDoorbell", device.sensors,
               device.status_fetched_at AS "statusFetchedAt", device.online_since AS "onlineSince", device.removed_at AS "removedAt",
               device.fetch_error IS NOT NULL AS "isOutdated",
               (${isUsable('link')} AND device.removed_at IS NULL) AS "isShared"
          FROM account_links link JOIN devices device ON device.account_id = link.account_id
         WHERE link.user_id = ${userId} AND ${isApplied('link')}
         ORDER BY device.removed_at DESC NULLS FIRST, device.name, device.id
         LIMIT 500`,
  );
}
