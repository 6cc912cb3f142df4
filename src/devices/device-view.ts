import type { UserDevice } from './user-devices.js';

/** Words and addresses for a device, the same on every page. */

/** How a thing stands: its colour and its icon. */
export type Tone = 'success' | 'working' | 'problem' | 'ended';

export const pathOfDevice = (deviceId: string): string => `/devices/${encodeURIComponent(deviceId)}`;

/** Ring's name of the device; a link needs some text, whatever the user called it. */
export function nameOfDevice(name: string | null): string {
  const shown = name?.trim() ?? '';
  return shown === '' ? 'Unnamed device' : shown;
}

/** A time for machines and for people. */
export interface TimeView {
  iso: string;
  text: string;
}

export interface StatusView {
  statusText: string;
  tone: Tone;
  when: (TimeView & { word: string }) | null;
}

/** Whether a device is online, and since when; or when Ring last said so. */
export function statusView({
  online,
  onlineAt,
  onlineSince,
}: Pick<UserDevice, 'online' | 'onlineAt' | 'onlineSince'>): StatusView {
  if (online === null) return { statusText: 'Status not known yet', tone: 'working', when: null };
  const [word, time] = onlineSince === null ? ['as of', onlineAt] : ['since', onlineSince];
  return {
    statusText: online ? 'Online' : 'Offline',
    tone: online ? 'success' : 'problem',
    when: time === null ? null : { word, ...timeView(time) },
  };
}

/** Without the reader's time zone, the zone is named. */
export function timeView(time: Date, timeZone = 'UTC'): TimeView {
  const format = new Intl.DateTimeFormat('en', {
    timeZone,
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: 'numeric',
    minute: '2-digit',
    timeZoneName: 'short',
  });
  return { iso: time.toISOString(), text: format.format(time) };
}
