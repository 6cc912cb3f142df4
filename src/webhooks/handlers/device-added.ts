import { recordDeviceEvents } from '../../events/record-events.js';
import { addDevice } from '../../inventory/fetch-devices.js';
import type { Handler } from '../handler.js';

/** Adds the device; a job asks Ring for its details. */
export const deviceAdded: Handler<'device_added'> = async ({ trx }, event) => {
  await addDevice(trx, event);
  await recordDeviceEvents(trx, [event]);
};
