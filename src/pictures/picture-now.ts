import { randomUUID } from 'node:crypto';
import type { Core } from '../core.js';
import { lockDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { isGone } from '../ring/errors.js';
import type { EncryptedMedia, RingPicture } from '../ring/media.js';
import { lookUpLatest } from './look-up.js';
import { addPicture } from './pictures.js';

/**
 * Takes a picture for a user who waits for it. A picture that arrives when the device is gone, or not
 * covered any more, is not stored.
 *
 * @throws {RingError} when Ring gave none; {@link NoLinkError} when the link has ended
 */
export async function takePicture(
  core: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'linkClockSkewSeconds' | 'coverage'>,
  userId: string,
  device: UserDevice,
): Promise<void> {
  const { db, clock, coverage } = core;
  const { accountId, id: deviceId } = device;
  let image: RingPicture | EncryptedMedia;
  try {
    image = await lookUpLatest(core, { accountId, deviceId });
  } catch (error) {
    if (isGone(error)) await refetchDevice(db, { accountId, deviceId, occurredAt: clock() });
    throw error;
  }
  if (image.kind === 'encrypted') return;
  const picture = image;
  await db.transaction(async (trx) => {
    const present = await lockDeviceOfUser(trx, userId, deviceId);
    if (present?.linkId !== device.linkId) return;
    if (!(await coverage.isCovered(trx, { accountId, deviceId }, clock()))) return;
    await addPicture(trx, { id: randomUUID(), accountId, deviceId, takenAt: picture.takenAt, image: picture });
  });
}
