import type { Knex } from 'knex';
import { row, rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import type { UserDevice } from '../devices/user-devices.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import type { RingPicture } from '../ring/media.js';

const KEPT_OF_DEVICE = 20;

interface NewPicture {
  id: string;
  accountId: string;
  deviceId: string;
  takenAt: Date;
  image: RingPicture;
}

/** Adds a picture once, and deletes all but the newest. The caller must hold the lock of the device's row. */
export async function addPicture(
  trx: Knex.Transaction,
  { id, accountId, deviceId, takenAt, image }: NewPicture,
): Promise<void> {
  await trx('snapshots')
    .insert({
      id,
      account_id: accountId,
      device_id: deviceId,
      taken_at: takenAt,
      content_type: image.contentType,
      picture: image.bytes,
    })
    .onConflict('id')
    .ignore();
  await run(
    trx,
    sql`DELETE FROM snapshots
         WHERE id IN (SELECT id FROM snapshots WHERE account_id = ${accountId} AND device_id = ${deviceId}
                       ORDER BY taken_at DESC, id OFFSET ${KEPT_OF_DEVICE})`,
  );
}

/** The pictures of a device, newest first. */
export function picturesOf(
  db: Knex,
  { accountId, id }: UserDevice,
): Promise<Pick<Tables['snapshots'], 'id' | 'taken_at'>[]> {
  return rows(
    db,
    sql`SELECT id, taken_at FROM snapshots WHERE account_id = ${accountId} AND device_id = ${id}
         ORDER BY taken_at DESC, id LIMIT ${KEPT_OF_DEVICE}`,
  );
}

export function findPicture(
  db: Knex,
  { accountId, id }: UserDevice,
  pictureId: string,
): Promise<Pick<Tables['snapshots'], 'content_type' | 'picture'> | undefined> {
  return row(
    db,
    sql`SELECT content_type, picture FROM snapshots
         WHERE id = ${pictureId} AND account_id = ${accountId} AND device_id = ${id}`,
  );
}

export async function erasePictures(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(trx, sql`DELETE FROM snapshots WHERE ${inScope(scope)}`);
}
