import { recordDeviceEvent } from '../../events/record-events.js';
import { markDoorbell } from '../../inventory/device-rows.js';
import type { Handler } from '../handler.js';

export const buttonPress: Handler<'button_press'> = async ({ trx }, event) => {
  await markDoorbell(trx, event);
  await recordDeviceEvent(trx, event);
};
