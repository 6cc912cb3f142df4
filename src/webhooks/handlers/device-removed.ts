import { removeDevice } from '../../inventory/removal.js';
import type { Handler } from '../handler.js';

export const deviceRemoved: Handler<'device_removed'> = ({ trx, now }, event) =>
  removeDevice(trx, { ...event, unlessAddedAfter: event.occurredAt, reason: 'device_removed', now });
