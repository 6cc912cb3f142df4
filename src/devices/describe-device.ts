/** What every page says of a device, in the same words. */

export const pathOfDevice = (deviceId: string): string => `/devices/${encodeURIComponent(deviceId)}`;

/** Ring's name of the device; a link needs some text, whatever the user called it. */
export function nameOfDevice(name: string | null): string {
  const shown = name?.trim() ?? '';
  return shown === '' ? 'Unnamed device' : shown;
}

export function describeStatus(online: boolean | null): {
  statusText: string;
  tone: 'success' | 'problem' | 'working';
} {
  if (online === null) return { statusText: 'Status not known yet', tone: 'working' };
  return online ? { statusText: 'Online', tone: 'success' } : { statusText: 'Offline', tone: 'problem' };
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
