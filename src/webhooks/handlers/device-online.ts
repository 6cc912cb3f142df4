import { recordDeviceEvent } from '../../events/record-events.js';
import { setOnline } from '../../inventory/online.js';
import type { Handler } from '../handler.js';

export const deviceOnline: Handler<'device_online'> = async ({ trx, now }, event) => {
  await setOnline(trx, { ...event, online: true, at: event.occurredAt, isChange: true, now });
  await recordDeviceEvent(trx, event);
};
