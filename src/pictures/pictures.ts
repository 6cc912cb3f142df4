import type { Knex } from 'knex';
import { row, rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import type { UserDevice } from '../devices/user-devices.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import type { RingPicture } from '../ring/media.js';
import { eraseRequests } from './picture-requests.js';

type PictureRow = Tables['snapshots'];

const KEPT_OF_DEVICE = 20;

interface NewPicture {
  /** The picture's ID, if it is not kept already. */
  id: string;
  accountId: string;
  deviceId: string;
  picture: RingPicture;
  now: Date;
}

/**
 * Keeps a picture once, and deletes all but those that were found last. The caller must hold the lock of the device's row.
 *
 * @returns its ID, and whether it was not kept before
 */
export async function addPicture(
  trx: Knex.Transaction,
  { id, accountId, deviceId, picture, now }: NewPicture,
): Promise<{ id: string; isNew: boolean }> {
  const { takenAt, contentType, bytes } = picture;
  const kept = await row<{ id: string }>(
    trx,
    sql`UPDATE snapshots SET stored_at = ${now}
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND taken_at = ${takenAt} RETURNING id`,
  );
  if (kept !== undefined) return { id: kept.id, isNew: false };
  await trx('snapshots').insert({
    id,
    account_id: accountId,
    device_id: deviceId,
    taken_at: takenAt,
    content_type: contentType,
    picture: bytes,
    stored_at: now,
  });
  await run(
    trx,
    sql`DELETE FROM snapshots
         WHERE id IN (SELECT id FROM snapshots WHERE account_id = ${accountId} AND device_id = ${deviceId}
                       ORDER BY stored_at DESC, taken_at DESC, id OFFSET ${KEPT_OF_DEVICE})`,
  );
  return { id, isNew: true };
}

/** The pictures of a device, newest first. */
export function picturesOf(db: Knex, { accountId, id }: UserDevice): Promise<Pick<PictureRow, 'id' | 'taken_at'>[]> {
  return rows(
    db,
    sql`SELECT id, taken_at FROM snapshots WHERE account_id = ${accountId} AND device_id = ${id}
         ORDER BY taken_at DESC LIMIT ${KEPT_OF_DEVICE}`,
  );
}

export function findPicture(
  db: Knex,
  { accountId, id }: UserDevice,
  pictureId: string,
): Promise<Pick<PictureRow, 'content_type' | 'picture' | 'taken_at'> | undefined> {
  return row(
    db,
    sql`SELECT content_type, picture, taken_at FROM snapshots
         WHERE id = ${pictureId} AND account_id = ${accountId} AND device_id = ${id}`,
  );
}

/** Deletes a picture for its user. @returns when it was taken; undefined when it is gone already */
export async function deletePicture(
  trx: Knex.Transaction,
  { accountId, id }: UserDevice,
  pictureId: string,
): Promise<Date | undefined> {
  const deleted = await row<Pick<PictureRow, 'taken_at'>>(
    trx,
    sql`DELETE FROM snapshots WHERE id = ${pictureId} AND account_id = ${accountId} AND device_id = ${id}
        RETURNING taken_at`,
  );
  return deleted?.taken_at;
}

/** Erases the pictures of devices, and that they were asked for. */
export async function erasePictures(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(trx, sql`DELETE FROM snapshots WHERE ${inScope(scope)}`);
  await eraseRequests(trx, scope);
}
