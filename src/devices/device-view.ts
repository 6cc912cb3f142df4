import type { UserDevice } from './user-devices.js';

/** What every page says of a device, in the same words. */

/** How a thing stands: its colour and its icon. */
export type Tone = 'success' | 'working' | 'problem' | 'ended';

export const pathOfDevice = (deviceId: string): string => `/devices/${encodeURIComponent(deviceId)}`;

/** Ring's name of the device; a link needs some text, whatever the user called it. */
export function nameOfDevice(name: string | null): string {
  const shown = name?.trim() ?? '';
  return shown === '' ? 'Unnamed device' : shown;
}

/** Whether a device is online, and since when; or when Ring last said so. */
export function describeStatus({
  online,
  onlineAt,
  onlineSince,
}: Pick<UserDevice, 'online' | 'onlineAt' | 'onlineSince'>): {
  statusText: string;
  tone: Tone;
  when: { word: string; iso: string; text: string } | null;
} {
  if (online === null) return { statusText: 'Status not known yet', tone: 'working', when: null };
  const [word, time] = onlineSince === null ? ['as of', onlineAt] : ['since', onlineSince];
  return {
    statusText: online ? 'Online' : 'Offline',
    tone: online ? 'success' : 'problem',
    when: time === null ? null : { word, ...describeTime(time) },
  };
}

/** A time for machines and for people; without the reader's time zone, the zone is named. */
export function describeTime(time: Date, timeZone = 'UTC'): { iso: string; text: string } {
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
