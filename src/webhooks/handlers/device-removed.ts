import { removeDevice } from '../../inventory/removal.js';
import { cameBeforeLink } from '../../ring-accounts/installation.js';
import { refetchDevice } from '../../ring-accounts/refetch.js';
import type { Handler } from '../handler.js';

export const deviceRemoved: Handler<'device_removed'> = async ({ trx, now }, event) => {
  // The device went with an earlier installation. Only Ring knows whether the present one shares it.
  if (await cameBeforeLink(trx, event)) await refetchDevice(trx, event);
  else await removeDevice(trx, { ...event, unlessAddedAfter: event.occurredAt, reason: 'device_removed', now });
};
