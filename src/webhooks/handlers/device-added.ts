import { recordDeviceEvent } from '../../devices/device-events.js';
import { addDevice } from '../../devices/inventory.js';
import type { Handler } from '../handler.js';

/** The device is known from now on; what it is, a job asks Ring. */
export const deviceAdded: Handler<'device_added'> = async ({ trx }, event) => {
  await addDevice(trx, event);
  await recordDeviceEvent(trx, event);
};
