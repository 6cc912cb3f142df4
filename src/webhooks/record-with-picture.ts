import type { Knex } from 'knex';
import { type DeviceEvent, recordDeviceEvent } from '../events/record-events.js';
import { wantEventPicture } from '../pictures/fetch-picture.js';
import { moveToEvent } from '../pictures/picture-requests.js';

/** Records an event at which its device records, and has its picture fetched if its user wants that. */
export async function recordWithPicture(trx: Knex.Transaction, event: DeviceEvent, now: Date): Promise<void> {
  for (const renamed of await recordDeviceEvent(trx, event)) await moveToEvent(trx, renamed);
  await wantEventPicture(trx, event, now);
}
