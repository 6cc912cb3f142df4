import { recordDeviceEvents } from '../events/record-events.js';
import { markDoorbells } from '../inventory/device-rows.js';
import { setOnline } from '../inventory/online.js';
import { wantEventPictures } from '../pictures/fetch-picture.js';
import { onBehalfOf } from '../request-id.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import type { GatheredEvent, Handler, HandlerContext } from './handler.js';

/** Leaves the event to {@link applyGathered}. Every motion that arrives was inside a motion zone: the device itself filters. */
export const gather: Handler<GatheredEvent['type']> = ({ gathered }, event) => {
  gathered.push(event);
  return Promise.resolve();
};

/** Applies the events that have been gathered, in their order for each device. */
export async function applyGathered({ trx, now, gathered }: HandlerContext): Promise<void> {
  const events = gathered.splice(0);
  if (events.length === 0) return;
  const changes = events.filter(({ type }) => type === 'device_online' || type === 'device_offline');
  if (changes.length > 0) {
    const words = changes.map((event) => ({
      ...event,
      online: event.type === 'device_online',
      at: event.occurredAt,
      isChange: true,
    }));
    for (const word of await setOnline(trx, words, now)) {
      await onBehalfOf(word.requestId, () => refetchDevice(trx, word));
    }
  }
  const presses = events.filter(({ type }) => type === 'button_press');
  if (presses.length > 0) await markDoorbells(trx, presses);
  await recordDeviceEvents(trx, events);
  const pictured = events.filter(({ type }) => type === 'motion_detected' || type === 'button_press');
  await wantEventPictures(trx, pictured, now);
}
