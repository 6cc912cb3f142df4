import { z } from 'zod';
import { PageLinks, readable } from './lists.js';
import { humanText, isoTime, ringId } from './text.js';

const Switch = z.enum(['on', 'off']).optional().catch(undefined);
const Words = readable(humanText(100), 100).optional().catch(undefined);

/** More than anybody draws on a telephone. Further zones are left out, because each costs time whenever a page shows it. */
const MOST_ZONES = 10;
const MOST_CORNERS = 40;

/** Coordinates from the top left, 0.0 to 1.0. */
const Vertex = z.object({ x: z.number().min(0).max(1), y: z.number().min(0).max(1) });
const Zone = z.object({ id: humanText(100), vertices: z.array(Vertex).max(MOST_CORNERS) });
const Zones = readable(Zone, MOST_ZONES).optional().catch(undefined);

/** Ring tells a resolution by its lines: 1080 is "1080p". */
const Resolution = z.union([
  z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .transform((lines) => `${lines}p`),
  humanText(100),
]);

/** Whether a device has an ability of which nothing more is known. One that it lacks is null. */
const Ability = z
  .unknown()
  .transform((value) => (value === null || value === undefined ? undefined : true))
  .optional();

/** The sensors of Ring: a contact is open, or there is water, frost, or a hand on the device. */
export const SENSORS = ['contact', 'flood', 'freeze', 'tamper'] as const;
export type Sensor = (typeof SENSORS)[number];

const Capabilities = z.object({
  video: z
    .object({
      codecs: Words,
      ratio: humanText(20).optional().catch(undefined),
      max_resolution: Resolution.optional().catch(undefined),
      supported_resolutions: readable(Resolution, 100).optional().catch(undefined),
      configurations: Words,
    })
    .optional()
    // A video that is told in another form is still one: the device has live views and pictures.
    .catch(({ value }) => (value === null || value === undefined ? undefined : {})),
  motion_detection: z.object({ configurations: Words }).optional().catch(undefined),
  image_enhancements: z.object({ configurations: Words }).optional().catch(undefined),
  contact_detection: Ability,
  flood_detection: Ability,
  freeze_detection: Ability,
  tamper_detection: Ability,
});

const Configurations = z.object({
  motion_detection: z.object({ enabled: Switch, motion_zones: Zones }).optional().catch(undefined),
  image_enhancements: z
    .object({
      color_night_vision: Switch,
      hdr: Switch,
      ir_led_night_vision: Switch,
      auto_zoom_track: Switch,
      snapshot: Switch,
      privacy_zones: Zones,
    })
    .optional()
    .catch(undefined),
});

/** Where a device is. Ring tells nothing finer. */
const Location = z.object({ country: humanText(100), state: humanText(100).optional().catch(undefined) });

/** The abilities of a device. They promise no control over it. */
export type Capabilities = z.output<typeof Capabilities>;
/** The settings of a device in the Ring app. */
export type Configurations = z.output<typeof Configurations>;
export type Location = z.output<typeof Location>;

const Faulted = z.object({ faulted: z.boolean() }).optional().catch(undefined);

const Status = z
  .object({
    online: z.boolean().optional().catch(undefined),
    reported_at: isoTime.optional().catch(undefined),
    contact_detection: Faulted,
    flood_detection: Faulted,
    freeze_detection: Faulted,
    tamper_detection: Faulted,
  })
  .transform(({ online, reported_at, ...detections }) => ({
    online,
    reportedAt: reported_at,
    sensors: Object.fromEntries(
      SENSORS.flatMap((sensor) => {
        const faulted = detections[`${sensor}_detection`]?.faulted;
        return faulted === undefined ? [] : [[sensor, faulted]];
      }),
    ),
  }));

/** The state of a device. */
export interface DeviceStatus {
  online: boolean | undefined;
  /** When the device told of it, by Ring's clock; undefined when Ring does not say. */
  reportedAt: Date | undefined;
  /** Whether each sensor that the device has is faulted: open, wet, cold or tampered with. */
  sensors: Partial<Record<Sensor, boolean>>;
}

/** A device as Ring tells it. A part that Ring left out, or told in an unknown form, is undefined. */
export interface RingDevice {
  id: string;
  name: string;
  status: DeviceStatus | undefined;
  capabilities: Capabilities | undefined;
  configurations: Configurations | undefined;
  location: Location | undefined;
}

const Reference = z
  .object({ data: z.object({ type: z.string(), id: z.string() }) })
  .optional()
  .catch(undefined);

const Resource = z.object({
  type: z.literal('devices'),
  id: ringId,
  attributes: z.object({ name: humanText(200) }).catch({ name: '' }),
  relationships: z
    .object({ status: Reference, capabilities: Reference, configurations: Reference, location: Reference })
    .optional()
    .catch(undefined),
});

const Included = z
  .array(
    z.object({ type: z.string(), id: z.string(), attributes: z.unknown() }).or(z.unknown().transform(() => undefined)),
  )
  .default([]);

/** The JSON:API resources that are fetched with a device. */
export const DEVICE_INCLUDES = 'status,capabilities,location,configurations';

export const DeviceAnswer = z
  .object({ data: Resource, included: Included })
  .transform(({ data, included }) => assemble(data, included));

/** A page of devices. */
export const DevicesAnswer = z
  .object({
    data: z.array(z.unknown()),
    included: Included,
    // Some devices are better than none, and nothing is taken from one that is missing here: it is asked for by itself.
    links: PageLinks.catch(undefined),
  })
  .transform(({ data, included, links }) => ({
    count: data.length,
    devices: readable(Resource)
      .parse(data)
      .map((resource) => assemble(resource, included)),
    links,
  }));

/** A part of a device, asked for by itself. */
const answerWith = <Attributes extends z.ZodType>(attributes: Attributes) =>
  z.object({ data: z.object({ attributes }) });

export const DeviceStatusAnswer = answerWith(Status);
export const DeviceCapabilitiesAnswer = answerWith(Capabilities);
export const DeviceConfigurationsAnswer = answerWith(Configurations);
export const DeviceLocationAnswer = answerWith(Location);

type IncludedResources = z.output<typeof Included>;

function assemble(resource: z.output<typeof Resource>, included: IncludedResources): RingDevice {
  const { id, attributes, relationships } = resource;
  const read = <Value>(schema: z.ZodType<Value>, reference: z.output<typeof Reference>): Value | undefined => {
    const found = included.find((one) => one?.id === reference?.data.id && one?.type === reference?.data.type);
    return schema.safeParse(found?.attributes).data;
  };
  return {
    id,
    name: attributes.name,
    status: read(Status, relationships?.status),
    capabilities: read(Capabilities, relationships?.capabilities),
    configurations: read(Configurations, relationships?.configurations),
    location: read(Location, relationships?.location),
  };
}
