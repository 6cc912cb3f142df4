import { recordDeviceEvent } from '../../events/record-events.js';
import { addDevice } from '../../inventory/fetch-devices.js';
import type { Handler } from '../handler.js';

/** The device is known from now on; what it is, a job asks Ring. */
export const deviceAdded: Handler<'device_added'> = async ({ trx }, event) => {
  await addDevice(trx, event);
  await recordDeviceEvent(trx, event);
};
