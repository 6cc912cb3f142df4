import type { Knex } from 'knex';
import { row } from '../database/database.js';
import type { Capabilities, Configurations } from '../ring/devices.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import type { UserDevice } from './user-devices.js';

/** What Ring has told of a device beyond its name and status. What it has not told is null. */
export interface DeviceDetails {
  capabilities: Capabilities | null;
  configurations: Configurations | null;
  /** When Ring was last asked and answered. */
  fetchedAt: Date | null;
  /** Whether it was asked since then, without success. */
  isOutdated: boolean;
}

const NOTHING: DeviceDetails = { capabilities: null, configurations: null, fetchedAt: null, isOutdated: false };

/**
 * The details of a device of the user's. They are taken as they are stored, without another look at their shape: nothing
 * is stored but what the schemas of ring/devices.ts have let through, and the texts in them are escaped where they are
 * shown.
 */
export async function detailsOf(db: Knex, { accountId, id }: UserDevice): Promise<DeviceDetails> {
  const details = await row<DeviceDetails>(
    db,
    `SELECT capabilities, configurations, fetched_at AS "fetchedAt", fetch_error IS NOT NULL AS "isOutdated"
       FROM devices WHERE account_id = ? AND id = ? AND removed_at IS NULL`,
    [accountId, id],
  );
  // Removed since the device was found: its page is still shown this once.
  return details ?? NOTHING;
}

/** Of a change in the Ring app, of zones for example, no webhook tells. */
const OLD_AFTER_MS = 10 * 60_000;

/** Has Ring asked about a device that somebody looks at; unless that was done lately, or is being tried anyway. */
export async function refetchIfOld(
  db: Knex,
  { accountId, id: deviceId }: UserDevice,
  { fetchedAt, isOutdated }: DeviceDetails,
  now: Date,
): Promise<void> {
  if (isOutdated || (fetchedAt !== null && now.getTime() - fetchedAt.getTime() < OLD_AFTER_MS)) return;
  await refetchDevice(db, { accountId, deviceId, occurredAt: now });
}
