import type { Knex } from 'knex';
import { rows } from '../database/database.js';
import { IS_APPLIED, IS_USABLE } from '../ring-accounts/link-conditions.js';

/** A device as the home page lists it; removed ones among them, so that their user learns of it. */
export interface ListedDevice {
  /** Ring's */
  id: string;
  linkId: string;
  /** Whether its page can be opened: the device is there, and its link usable. */
  isShared: boolean;
  /** Null until Ring has told it. */
  name: string | null;
  online: boolean | null;
  /** When Ring last said so. */
  onlineAt: Date | null;
  /** Since when, if that is known. */
  onlineSince: Date | null;
  /** Whether Ring was asked about it since it last answered, without success. */
  isOutdated: boolean;
  removedAt: Date | null;
}

/** The devices of all links of a user that stand; those that are there first, by name. */
export function listDevices(db: Knex, userId: string): Promise<ListedDevice[]> {
  return rows<ListedDevice>(
    db,
    `SELECT device.id, link.id AS "linkId", device.name, device.online, device.online_at AS "onlineAt",
            device.online_since AS "onlineSince",
            device.removed_at AS "removedAt", device.fetch_error IS NOT NULL AS "isOutdated",
            (link.${IS_USABLE} AND device.removed_at IS NULL) AS "isShared"
       FROM account_links link JOIN devices device ON device.account_id = link.account_id
      WHERE link.user_id = ? AND link.${IS_APPLIED}
      ORDER BY device.removed_at DESC NULLS FIRST, device.name, device.id
      LIMIT 500`,
    [userId],
  );
}
