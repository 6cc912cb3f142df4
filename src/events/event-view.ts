import { describeTime, nameOfDevice, pathOfDevice } from '../devices/device-view.js';
import { EVENT_KINDS, type EventKind } from './event-kinds.js';
import type { ListedEvent } from './list-events.js';

/** An event as the views show it. */
export function describeEvent({ requestId, occurredAt, kind, deviceId, deviceName }: ListedEvent) {
  const { text, icon } = EVENT_KINDS[kind];
  return {
    id: requestId,
    text,
    icon,
    device: { name: nameOfDevice(deviceName), href: pathOfDevice(deviceId) },
    at: describeTime(occurredAt),
  };
}

/** What the address of a list of events says; cursors are written by `event-cursor`. */
export interface EventsAddress {
  device?: string | undefined;
  kind?: EventKind | undefined;
  before?: string;
  after?: string;
}

export function pathOfEvents(address: EventsAddress = {}): string {
  const given = Object.entries(address).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return ['/events', new URLSearchParams(given).toString()].filter(Boolean).join('?');
}
