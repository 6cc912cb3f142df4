import { sql } from '../database/sql.js';
import type { Capabilities, Sensor } from '../ring/devices.js';

/** What shows what a device is. Ring does not say. */
export interface WithAbilities {
  /** Null until Ring has told them. */
  capabilities: Capabilities | null;
  /** Somebody has pressed its button. */
  isDoorbell: boolean;
}

/** Whether a device may have video. Until Ring has told what it can do, it may. */
export const mayHaveVideo = ({ capabilities }: Pick<WithAbilities, 'capabilities'>): boolean =>
  capabilities === null || capabilities.video !== undefined;

/** SQL: as {@link mayHaveVideo}, of `device`. */
export const MAY_HAVE_VIDEO = sql`(device.capabilities IS NULL OR device.capabilities ? 'video')`;

export const NO_LIVE_VIEW = 'This device has no camera, so it has no live view.';
export const NO_PICTURES = 'This device has no camera, so there are no pictures of it.';

/** What a sensor is called by what it notices. That somebody tampers with it, others notice too. */
const NOTICED = ['contact', 'flood', 'freeze'] as const satisfies readonly Sensor[];

const AND = new Intl.ListFormat('en', { type: 'conjunction' });

/** What a device is, in a word; null while that is not known. */
export function kindOfDevice({ capabilities, isDoorbell }: WithAbilities): string | null {
  if (isDoorbell) return 'Doorbell';
  if (capabilities?.video !== undefined) return 'Camera';
  const noticed = NOTICED.filter((sensor) => capabilities?.[`${sensor}_detection`] !== undefined);
  if (noticed.length > 0) {
    const words = AND.format(noticed);
    return `${words.charAt(0).toUpperCase()}${words.slice(1)} sensor`;
  }
  return capabilities?.tamper_detection === undefined ? null : 'Tamper sensor';
}
