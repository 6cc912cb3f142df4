import { recordDeviceEvent } from '../../events/record-events.js';
import { wantEventPicture } from '../../pictures/fetch-picture.js';
import type { Handler } from '../handler.js';

/** Every motion that arrives was inside a motion zone: the device itself filters. */
export const motionDetected: Handler<'motion_detected'> = async ({ trx, now }, event) => {
  await recordDeviceEvent(trx, event);
  await wantEventPicture(trx, event, now);
};
