import { randomBytes } from 'node:crypto';
import { z } from 'zod';

/** The power supply of a device decides how long its live views last. */
export const POWERS = ['battery', 'wired'] as const;
export type Power = (typeof POWERS)[number];

/** Attributes as Ring shows them; the simulator looks at none of them. */
const attributes = z.record(z.string(), z.unknown());
type Attributes = z.infer<typeof attributes>;

/**
 * `account`: the user has switched on Ring's own encryption (TAKE). The device stays listed, and its media come back
 * encrypted. `end-to-end`: the device is never listed.
 */
export const ENCRYPTIONS = ['none', 'account', 'end-to-end'] as const;
export type Encryption = (typeof ENCRYPTIONS)[number];

/** The members of a status that a sensor has, and of the capabilities of the device that has it. */
export const SENSORS = ['contact_detection', 'flood_detection', 'freeze_detection', 'tamper_detection'] as const;
export type Sensor = (typeof SENSORS)[number];

export interface Device {
  id: string;
  name: string;
  online: boolean;
  power: Power;
  /** A picture of the product. */
  image_url: string;
  encryption: Encryption;
  /** The sensors that notice something now: open, wet, cold or tampered with. */
  faulted: Sensor[];
  /** The time since when the status is known, epoch ms; null for a device that is as it was at the beginning. */
  reported_at: number | null;
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
  image_url: z.url().optional(),
  encryption: z.enum(ENCRYPTIONS).optional(),
  faulted: z.array(z.enum(SENSORS)).optional(),
  capabilities: attributes.nullable().optional(),
  configurations: attributes.nullable().optional(),
  location: attributes.nullable().optional(),
});
export type NewDevice = z.infer<typeof newDeviceSchema>;

/** Changes to a device. What is left out stays. */
export const deviceChangesSchema = newDeviceSchema.omit({ id: true }).partial();
export type DeviceChanges = z.infer<typeof deviceChangesSchema>;

export function newDevice(wish: NewDevice): Device {
  return {
    id: wish.id ?? `device-${randomBytes(6).toString('hex')}`,
    name: wish.name,
    online: wish.online ?? true,
    power: wish.power ?? 'wired',
    image_url: wish.image_url ?? USUAL_IMAGE_URL,
    encryption: wish.encryption ?? 'none',
    faulted: wish.faulted ?? [],
    reported_at: null,
    capabilities: wish.capabilities === undefined ? USUAL_CAPABILITIES : wish.capabilities,
    configurations: wish.configurations === undefined ? USUAL_CONFIGURATIONS : wish.configurations,
    location: wish.location === undefined ? { country: 'US', state: 'WA' } : wish.location,
  };
}

/** @param now epoch ms */
export function changeDevice(device: Device, changes: DeviceChanges, now: number): void {
  Object.assign(device, changes);
  if (changes.online !== undefined || changes.faulted !== undefined) device.reported_at = now;
}

/** A device without video has no live view, no pictures and no clips. */
export function hasVideo({ capabilities }: Device): boolean {
  return hasCapability(capabilities, 'video');
}

export function sensorsOf({ capabilities }: Device): Sensor[] {
  return SENSORS.filter((sensor) => hasCapability(capabilities, sensor));
}

function hasCapability(capabilities: Attributes | null, name: string): boolean {
  return typeof capabilities?.[name] === 'object' && capabilities[name] !== null;
}

const USUAL_IMAGE_URL =
  'https://app-content.ring.com/shared/images/devices/square_device_images/DoorbellPro/rvdp_3x.png';

const USUAL_CAPABILITIES: Attributes = {
  video: {
    configurations: ['resolution_mode'],
    codecs: ['AVC', 'HEVC'],
    ratio: '16:9',
    max_resolution: 2160,
    supported_resolutions: [1080, 2160],
  },
  audio: { customizable_slots: null, supported_actions: null },
  motion_detection: { configurations: ['enabled', 'motion_zones'] },
  image_enhancements: {
    configurations: ['color_night_vision', 'hdr', 'ir_led_night_vision', 'privacy_zones', 'snapshot'],
  },
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
