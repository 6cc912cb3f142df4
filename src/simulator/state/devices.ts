import { randomBytes } from 'node:crypto';
import { z } from 'zod';

/** The power supply of a device decides how long its live views last. */
export const POWERS = ['battery', 'wired'] as const;
export type Power = (typeof POWERS)[number];

/** Attributes as Ring shows them; the simulator looks at none of them. */
const attributes = z.record(z.string(), z.unknown());
type Attributes = z.infer<typeof attributes>;

export interface Device {
  id: string;
  name: string;
  online: boolean;
  power: Power;
  /** Everything that Ring knows of the device beyond its status. Null for what Ring doesn't know. */
  capabilities: Attributes | null;
  configurations: Attributes | null;
  location: Attributes | null;
}

const text = z.string().min(1).max(200);

/** A device as a script asks for it. What it leaves out gets the values of an ordinary device. */
export const newDeviceSchema = z.strictObject({
  id: text.optional(),
  name: text,
  online: z.boolean().optional(),
  power: z.enum(POWERS).optional(),
  capabilities: attributes.nullable().optional(),
  configurations: attributes.nullable().optional(),
  location: attributes.nullable().optional(),
});
export type NewDevice = z.infer<typeof newDeviceSchema>;

export function newDevice({ id, name, online, power, capabilities, configurations, location }: NewDevice): Device {
  return {
    id: id ?? `device-${randomBytes(6).toString('hex')}`,
    name,
    online: online ?? true,
    power: power ?? 'wired',
    capabilities: capabilities === undefined ? USUAL_CAPABILITIES : capabilities,
    configurations: configurations === undefined ? USUAL_CONFIGURATIONS : configurations,
    location: location === undefined ? { country: 'US', state: 'WA' } : location,
  };
}

const USUAL_CAPABILITIES: Attributes = {
  video: {
    codecs: ['AVC', 'HEVC'],
    ratio: '16:9',
    max_resolution: '1920x1080',
    supported_resolutions: ['640x360', '1280x720', '1920x1080'],
    configurations: ['resolution'],
  },
  motion_detection: { configurations: ['enabled', 'motion_zones'] },
  image_enhancements: { configurations: ['color_night_vision', 'hdr', 'ir_led_night_vision', 'privacy_zones'] },
};

const USUAL_CONFIGURATIONS: Attributes = {
  motion_detection: {
    enabled: 'on',
    motion_zones: [
      {
        id: '5b0c2f0e-8f5f-4a53-9a0e-6d1b8f6a1c01',
        // Ring's pages write whole numbers without a decimal point: 0, not 0.0.
        vertices: [
          { x: 0, y: 0.25 },
          { x: 1, y: 0.25 },
          { x: 1, y: 1 },
          { x: 0, y: 1 },
        ],
      },
    ],
  },
  image_enhancements: {
    color_night_vision: 'on',
    hdr: 'off',
    ir_led_night_vision: 'on',
    privacy_zones: [
      {
        id: 'c3a9e6a4-2b7d-4b39-8b1f-0f7f7a0e2d02',
        vertices: [
          { x: 0.75, y: 0 },
          { x: 1, y: 0 },
          { x: 1, y: 0.2 },
          { x: 0.75, y: 0.2 },
        ],
      },
    ],
  },
};
