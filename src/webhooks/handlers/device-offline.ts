import { recordDeviceEvent } from '../../events/record-events.js';
import { setOnline } from '../../inventory/online.js';
import type { Handler } from '../handler.js';

export const deviceOffline: Handler<'device_offline'> = async ({ trx, now }, event) => {
  await setOnline(trx, { ...event, online: false, at: event.occurredAt, isChange: true, now });
  await recordDeviceEvent(trx, event);
};
