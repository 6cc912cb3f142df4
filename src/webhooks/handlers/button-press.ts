import { markDoorbell } from '../../inventory/device-rows.js';
import type { Handler } from '../handler.js';
import { recordWithPicture } from '../record-with-picture.js';

export const buttonPress: Handler<'button_press'> = async ({ trx, now }, event) => {
  await markDoorbell(trx, event);
  await recordWithPicture(trx, event, now);
};
