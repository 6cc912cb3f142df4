import type { Knex } from 'knex';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import type { Capabilities, Configurations } from '../ring/devices.js';
import type { UserDevice } from './user-devices.js';

/** Facts that Ring has told of a device beyond its name and status. A fact that it has not told is null. */
export interface DeviceDetails {
  capabilities: Capabilities | null;
  configurations: Configurations | null;
  /** Whether its events get their pictures by themselves: its user's wish, not Ring's word. */
  hasEventPictures: boolean;
  /** When Ring was last asked and answered. */
  fetchedAt: Tables['devices']['fetched_at'];
  /** Whether it was asked since then, without success. */
  isOutdated: boolean;
}

const NOTHING: DeviceDetails = {
  capabilities: null,
  configurations: null,
  hasEventPictures: false,
  fetchedAt: null,
  isOutdated: false,
};

/** Whether a device has pictures. Until Ring has told what it can do, it is taken for a camera. */
export const isCamera = ({ capabilities }: DeviceDetails): boolean =>
  capabilities === null || capabilities.video != null;

/**
 * The details of a device of the user's. They are taken as they are stored, and not checked again: the schemas of
 * ring/devices.ts have let them through, and the texts in them are escaped where they are shown.
 */
export async function detailsOf(db: Knex, { accountId, id }: UserDevice): Promise<DeviceDetails> {
  const details = await row<DeviceDetails>(
    db,
    sql`SELECT capabilities, configurations, has_event_pictures AS "hasEventPictures", fetched_at AS "fetchedAt", fetch_error IS NOT NULL AS "isOutdated"
          FROM devices WHERE account_id = ${accountId} AND id = ${id} AND removed_at IS NULL`,
  );
  // The device was removed since it was found: its page is still shown this once.
  return details ?? NOTHING;
}

/** Changes in the Ring app, of zones for example, are told by no webhook. */
const OLD_AFTER_MS = 10 * 60_000;

/** Has Ring asked about a device that a user looks at, unless Ring was asked lately or is being asked again anyway. */
export async function refetchIfOld(
  db: Knex,
  { accountId, id: deviceId }: UserDevice,
  { fetchedAt, isOutdated }: DeviceDetails,
  now: Date,
): Promise<void> {
  if (isOutdated || (fetchedAt !== null && now.getTime() - fetchedAt.getTime() < OLD_AFTER_MS)) return;
  await refetchDevice(db, { accountId, deviceId, occurredAt: now });
}
