import type { Knex } from 'knex';
import { row, rows } from '../database/database.js';
import type { RingImage } from '../ring/media.js';
import type { UserDevice } from '../devices/user-devices.js';

const KEPT_OF_DEVICE = 20;

/** Adds a picture, once, and forgets all but the newest. Call it with the device's row locked. */
export async function addSnapshot(
  trx: Knex,
  snapshot: { id: string; accountId: string; deviceId: string; takenAt: Date; image: RingImage },
): Promise<void> {
  const { id, accountId, deviceId, takenAt, image } = snapshot;
  await trx.raw(
    `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO NOTHING`,
    [id, accountId, deviceId, takenAt, image.contentType, image.bytes],
  );
  await trx.raw(
    `DELETE FROM snapshots WHERE id IN (SELECT id FROM snapshots WHERE account_id = ? AND device_id = ?
                                         ORDER BY taken_at DESC, id OFFSET ${KEPT_OF_DEVICE})`,
    [accountId, deviceId],
  );
}

/** The pictures of a device, newest first. */
export function snapshotsOf(db: Knex, { accountId, id }: UserDevice): Promise<{ id: string; takenAt: Date }[]> {
  return rows<{ id: string; takenAt: Date }>(
    db,
    `SELECT id, taken_at AS "takenAt" FROM snapshots WHERE account_id = ? AND device_id = ?
      ORDER BY taken_at DESC, id LIMIT ${KEPT_OF_DEVICE}`,
    [accountId, id],
  );
}

export function findPicture(
  db: Knex,
  { accountId, id }: UserDevice,
  snapshotId: string,
): Promise<RingImage | undefined> {
  return row<RingImage>(
    db,
    `SELECT content_type AS "contentType", picture AS bytes FROM snapshots
      WHERE id = ? AND account_id = ? AND device_id = ?`,
    [snapshotId, accountId, id],
  );
}
