import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { endLiveViews } from '../live-views/live-views.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { pauseOperations, resumeOperations } from '../pictures/schedules.js';

export interface OnlineState {
  accountId: string;
  deviceId: string;
  online: boolean;
  /** When Ring said so: the newest word counts, whenever it arrives. */
  at: Date;
  /** Whether that is when it became so. Where we asked, it may have been so for long. */
  isChange: boolean;
  now: Date;
}

/** Notes whether a device is online, with what follows: an offline device streams nothing and takes no pictures. */
export async function setOnline(trx: Knex, state: OnlineState): Promise<void> {
  const { accountId, deviceId, online, at, isChange, now } = state;
  const changed = await row<{ is_unknown: boolean }>(
    trx,
    `INSERT INTO devices AS device (account_id, id, online, online_at, online_since) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (account_id, id) DO UPDATE
        SET online = excluded.online, online_at = excluded.online_at,
            online_since = CASE WHEN device.online = excluded.online
                                THEN coalesce(device.online_since, excluded.online_since)
                                ELSE excluded.online_since END
      WHERE device.removed_at IS NULL AND (device.online_at IS NULL OR device.online_at <= excluded.online_at)
     RETURNING name IS NULL AS is_unknown`,
    [accountId, deviceId, online, at, isChange ? at : null],
  );
  if (changed === undefined) return;
  if (changed.is_unknown) await refetchDevice(trx, { accountId, deviceId, occurredAt: at });
  if (online) {
    await resumeOperations(trx, accountId, deviceId, now);
  } else {
    await endLiveViews(trx, { accountId, deviceId }, 'DEVICE_OFFLINE', now);
    await pauseOperations(trx, accountId, deviceId);
  }
}
