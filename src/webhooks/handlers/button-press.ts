import { recordDeviceEvent } from '../../events/record-events.js';
import { markDoorbell } from '../../inventory/device-rows.js';
import { wantEventPicture } from '../../pictures/fetch-picture.js';
import type { Handler } from '../handler.js';

export const buttonPress: Handler<'button_press'> = async ({ trx, now }, event) => {
  await markDoorbell(trx, event);
  await recordDeviceEvent(trx, event);
  await wantEventPicture(trx, event, now);
};
