import { timeView, nameOfDevice, pathOfDevice, type TimeView } from '../devices/device-view.js';
import { pathOfEventPicture, pathOfPicture } from '../devices/picture-paths.js';
import { EVENT_KINDS, type EventKind, isRecorded } from './event-kinds.js';
import type { ListedEvent } from './list-events.js';

export interface EventView {
  id: string;
  text: string;
  /** The name of a symbol in `partials/icons`. */
  icon: string;
  /** Null on the page of that device. */
  device: { name: string; href: string } | null;
  at: TimeView;
  /** Where its picture is shown, or asked for if none is kept; null when nothing was recorded of it. */
  picture: { href: string; isKept: boolean } | null;
  /** Where what was recorded then can be watched; null when nothing was. */
  recording: string | null;
}

export function eventView(event: ListedEvent): EventView {
  const { requestId, occurredAt, kind, deviceId, deviceName, pictureId } = event;
  const { text, icon } = EVENT_KINDS[kind];
  const isOffered = isRecorded(kind) && event.canBeShown;
  return {
    id: requestId,
    text,
    icon,
    device: { name: nameOfDevice(deviceName), href: pathOfDevice(deviceId) },
    at: timeView(occurredAt),
    picture:
      isOffered || pictureId !== null
        ? {
            href: pictureId === null ? pathOfEventPicture(deviceId, requestId) : pathOfPicture(deviceId, pictureId),
            isKept: pictureId !== null,
          }
        : null,
    recording: isOffered ? `${pathOfDevice(deviceId)}/recordings/${occurredAt.getTime()}` : null,
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
