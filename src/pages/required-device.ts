import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { mayHaveVideo, NO_PICTURES } from '../devices/device-kind.js';
import { noSuchDevice, uncoveredDevice } from '../devices/no-such-device.js';
import { findDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import { HttpError } from '../http/errors.js';

const HIDDEN_DEVICE =
  'Ring does not let us see this device at the moment. If its Ring account has to be linked again, your home page says how.';

/**
 * The device that a page is about.
 *
 * @param deviceId as it stood in the address: hostile
 * @throws {HttpError} 404; 409 when Ring does not let us see the device at the moment
 */
export async function requiredDevice(db: Knex, userId: string, deviceId: string): Promise<UserDevice> {
  const found = await findDeviceOfUser(db, userId, deviceId);
  switch (found.kind) {
    case 'shared':
      return found.device;
    case 'hidden':
      throw new HttpError(409, HIDDEN_DEVICE);
    case 'none':
      throw noSuchDevice();
  }
}

/** As {@link requiredDevice}. @throws {HttpError} 403, too, when the device lacks a subscription */
export async function requiredCoveredDevice(
  { db, clock, coverage }: Pick<Core, 'db' | 'clock' | 'coverage'>,
  userId: string,
  deviceId: string,
): Promise<UserDevice> {
  const device = await requiredDevice(db, userId, deviceId);
  if (!(await coverage.isCovered(db, { accountId: device.accountId, deviceId }, clock()))) throw uncoveredDevice();
  return device;
}

/** @throws {HttpError} 409 when the device has recorded nothing that could be shown, because it has no camera */
export function requireCamera(device: UserDevice): void {
  if (!mayHaveVideo(device)) throw new HttpError(409, NO_PICTURES);
}
