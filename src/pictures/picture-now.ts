import { randomUUID } from 'node:crypto';
import type { Core } from '../core.js';
import { lockDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { isGone } from '../ring/errors.js';
import type { RingImage } from '../ring/media.js';
import { addPicture } from './pictures.js';

/**
 * Takes a picture for a user who waits for it. A picture that arrives when the device is gone is not stored.
 *
 * @throws {RingError} when Ring gave none; {@link NoLinkError} when the link has ended
 */
export async function takePicture(
  { db, ring, tokens, clock }: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock'>,
  userId: string,
  device: UserDevice,
): Promise<void> {
  const { accountId, id: deviceId } = device;
  let image: RingImage;
  try {
    image = await tokens.forAccount(accountId, (accessToken) => ring.downloadImage(accessToken, deviceId));
  } catch (error) {
    if (isGone(error)) await refetchDevice(db, { accountId, deviceId, occurredAt: clock() });
    throw error;
  }
  await db.transaction(async (trx) => {
    const present = await lockDeviceOfUser(trx, userId, deviceId);
    if (present?.linkId !== device.linkId) return;
    await addPicture(trx, { id: randomUUID(), accountId, deviceId, takenAt: clock(), image });
  });
}
