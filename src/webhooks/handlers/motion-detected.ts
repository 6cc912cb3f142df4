import type { Handler } from '../handler.js';
import { recordWithPicture } from '../record-with-picture.js';

/** Every motion that arrives was inside a motion zone: the device itself filters. */
export const motionDetected: Handler<'motion_detected'> = ({ trx, now }, event) => recordWithPicture(trx, event, now);
