import { recordDeviceEvent } from '../../events/record-events.js';
import type { Handler } from '../handler.js';

/** Ring filters by motion zones in the device: whatever arrives here was inside one. */
export const motionDetected: Handler<'motion_detected'> = ({ trx }, event) => recordDeviceEvent(trx, event);
