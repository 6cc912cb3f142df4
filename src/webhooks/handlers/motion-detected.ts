import { recordDeviceEvent } from '../../events/record-events.js';
import type { Handler } from '../handler.js';

/** Every motion that arrives was inside a motion zone: the device itself filters. */
export const motionDetected: Handler<'motion_detected'> = ({ trx }, event) => recordDeviceEvent(trx, event);
