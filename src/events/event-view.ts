import { timeView, nameOfDevice, pathOfDevice, type TimeView } from '../devices/device-view.js';
import { EVENT_KINDS, type EventKind, isRecorded } from './event-kinds.js';
import type { ListedEvent } from './list-events.js';

export interface EventView {
  id: string;
  text: string;
  /** The name of a symbol in `partials/icons`. */
  icon: string;
  /** Null on the page of that device. */
  device: { name: string; href: string } | null;
  /** The address of what Ring has recorded then; null for what is not recorded. */
  recording: string | null;
  at: TimeView;
}

export function eventView({ requestId, occurredAt, kind, deviceId, deviceName }: ListedEvent): EventView {
  const { text, icon } = EVENT_KINDS[kind];
  return {
    id: requestId,
    text,
    icon,
    device: { name: nameOfDevice(deviceName), href: pathOfDevice(deviceId) },
    recording: isRecorded(kind) ? `${pathOfDevice(deviceId)}/recordings/${occurredAt.getTime()}` : null,
    at: timeView(occurredAt),
  };
}

/** The parts of the address of a list of events. Cursors are written by `event-cursor`. */
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
