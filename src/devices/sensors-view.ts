import type { Sensor } from '../ring/devices.js';
import { type StatusView, timeView } from './device-view.js';
import { sensorsOf, type WithSensors } from './sensors.js';

/** Words that claim no more than Ring has told. A sensor that says nothing may also be one that is broken. */
const WORDS: Readonly<Record<Sensor, { faulted: string; cleared: string; unknown: string }>> = {
  contact: { faulted: 'Open', cleared: 'Reported closed', unknown: 'Open or closed: not known yet' },
  flood: { faulted: 'Water detected', cleared: 'No water reported', unknown: 'Water: not known yet' },
  freeze: {
    faulted: 'Freezing temperature detected',
    cleared: 'No freezing temperature reported',
    unknown: 'Freezing temperature: not known yet',
  },
  tamper: {
    faulted: 'Tampering detected',
    cleared: 'No tampering reported',
    unknown: 'Tampering: not known yet',
  },
};

/** What Ring last told of each sensor of a device, with the time of it. */
export function sensorViews(device: WithSensors): StatusView[] {
  return sensorsOf(device).map((sensor) => {
    const [words, state] = [WORDS[sensor], device.sensors?.[sensor]];
    if (state === undefined) return { statusText: words.unknown, tone: 'working', when: null };
    const { faulted, at, since } = state;
    const [word, time] = since === null ? ['as of', at] : ['since', since];
    return {
      statusText: faulted ? words.faulted : words.cleared,
      tone: faulted ? 'problem' : 'ended',
      when: { word, ...timeView(new Date(time)) },
    };
  });
}
