import { recordDeviceEvent } from '../../events/record-events.js';
import type { Handler } from '../handler.js';

export const buttonPress: Handler<'button_press'> = ({ trx }, event) => recordDeviceEvent(trx, event);
