import { z } from 'zod';
import { humanText, ringId } from './text.js';

const Switch = z.enum(['on', 'off']).optional().catch(undefined);
const Words = z.array(humanText(100)).max(100).optional().catch(undefined);

/** More than anybody draws on a telephone. Further zones are left out, because each costs time whenever a page shows it. */
const MOST_ZONES = 10;
const MOST_CORNERS = 40;

/** Coordinates from the top left, 0.0 to 1.0. */
const Vertex = z.object({ x: z.number().min(0).max(1), y: z.number().min(0).max(1) });
const Zone = z.object({ id: humanText(100), vertices: z.array(Vertex).max(MOST_CORNERS) });
const Zones = z.array(z.unknown()).transform(firstOf(MOST_ZONES)).transform(readable(Zone)).optional().catch(undefined);

const Capabilities = z.object({
  video: z
    .object({
      codecs: Words,
      ratio: humanText(20).optional().catch(undefined),
      max_resolution: humanText(20).optional().catch(undefined),
      supported_resolutions: Words,
      configurations: Words,
    })
    .optional()
    .catch(undefined),
  motion_detection: z.object({ configurations: Words }).optional().catch(undefined),
  image_enhancements: z.object({ configurations: Words }).optional().catch(undefined),
});

const Configurations = z.object({
  motion_detection: z.object({ enabled: Switch, motion_zones: Zones }).optional().catch(undefined),
  image_enhancements: z
    .object({
      color_night_vision: Switch,
      hdr: Switch,
      ir_led_night_vision: Switch,
      auto_zoom_track: Switch,
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

/** A device as Ring tells it. A part that Ring left out, or told in an unknown form, is undefined. */
export interface RingDevice {
  id: string;
  name: string;
  online: boolean | undefined;
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

export const DevicesAnswer = z
  .object({ data: z.array(z.unknown()).transform(readable(Resource)), included: Included })
  .transform(({ data, included }) => data.map((resource) => assemble(resource, included)));

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
    online: read(z.object({ online: z.boolean() }), relationships?.status)?.online,
    capabilities: read(Capabilities, relationships?.capabilities),
    configurations: read(Configurations, relationships?.configurations),
    location: read(Location, relationships?.location),
  };
}

function firstOf(most: number): (entries: unknown[]) => unknown[] {
  return (entries) => entries.slice(0, most);
}

/** Leaves out the entries of a list that can't be read, so that an odd one does not cost the others. */
function readable<Value>(schema: z.ZodType<Value>): (entries: unknown[]) => Value[] {
  return (entries) =>
    entries.flatMap((entry) => {
      const parsed = schema.safeParse(entry);
      return parsed.success ? [parsed.data] : [];
    });
}
