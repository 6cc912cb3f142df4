import { z } from 'zod';
import type { Sensor } from './devices.js';
import { epochMs, isoTime, opaque, ringId, someText } from './text.js';

/**
 * Ring's webhook events. Only the fields that we use are required: a 4xx is final for Ring, so an event must not be lost over
 * a field that we don't read. Unknown fields and types are accepted, and the inbox keeps the whole body.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
const Meta = z.object({
  version: someText(50),
  time: isoTime,
  request_id: z.guid({ error: 'expected a UUID' }),
  account_id: ringId,
});

const subtype = opaque(64).nullish().catch(undefined);

const DeviceAttributes = z.object({
  source: ringId,
  timestamp: epochMs,
});

const deviceEvent = <Type extends string>(type: Type) =>
  z
    .object({ type: z.literal(type), attributes: DeviceAttributes })
    .transform(({ attributes }) => ({ type, deviceId: attributes.source, occurredAt: attributes.timestamp }));

const AccountAttributes = z.object({ timestamp: epochMs });

const accountEvent = <Type extends string>(type: Type) =>
  z
    .object({ type: z.literal(type), attributes: AccountAttributes })
    .transform(({ attributes }) => ({ type, occurredAt: attributes.timestamp }));

/** No details of the subscription: the event only makes us ask Ring for them. */
const SubscriptionAttributes = z.object({ timestamp: epochMs.optional() });

const subscriptionEvent = <Type extends string>(type: Type) =>
  z
    .object({ type: z.literal(type), attributes: SubscriptionAttributes })
    .transform(({ attributes }) => ({ type, occurredAt: attributes.timestamp }));

/** The schema of `data`, by its `type`. */
const DATA = {
  motion_detected: z
    .object({
      type: z.literal('motion_detected'),
      subType: subtype,
      attributes: DeviceAttributes.extend({ sub_type: subtype }),
    })
    .transform(({ type, subType, attributes }) => ({
      type,
      deviceId: attributes.source,
      occurredAt: attributes.timestamp,
      /** motion, human, vehicle or other_motion. Ring sends it in either of two places. */
      subtype: subType ?? attributes.sub_type ?? undefined,
    })),
  button_press: deviceEvent('button_press'),
  device_added: deviceEvent('device_added'),
  device_removed: deviceEvent('device_removed'),
  device_online: deviceEvent('device_online'),
  device_offline: deviceEvent('device_offline'),
  contact_sensor_faulted: deviceEvent('contact_sensor_faulted'),
  contact_sensor_cleared: deviceEvent('contact_sensor_cleared'),
  flood_detected: deviceEvent('flood_detected'),
  flood_cleared: deviceEvent('flood_cleared'),
  freeze_detected: deviceEvent('freeze_detected'),
  freeze_cleared: deviceEvent('freeze_cleared'),
  tamper_detected: deviceEvent('tamper_detected'),
  tamper_cleared: deviceEvent('tamper_cleared'),
  app_integration_added: accountEvent('app_integration_added'),
  app_integration_removed: accountEvent('app_integration_removed'),
  subscription_activated: subscriptionEvent('subscription_activated'),
  subscription_deactivated: subscriptionEvent('subscription_deactivated'),
} as const;

export type EventType = keyof typeof DATA;

export const EVENT_TYPES = Object.keys(DATA) as EventType[];

/** What the events of a sensor say: whether it is faulted, which is open, wet, cold or tampered with. */
export const SENSOR_EVENTS = {
  contact_sensor_faulted: { sensor: 'contact', faulted: true },
  contact_sensor_cleared: { sensor: 'contact', faulted: false },
  flood_detected: { sensor: 'flood', faulted: true },
  flood_cleared: { sensor: 'flood', faulted: false },
  freeze_detected: { sensor: 'freeze', faulted: true },
  freeze_cleared: { sensor: 'freeze', faulted: false },
  tamper_detected: { sensor: 'tamper', faulted: true },
  tamper_cleared: { sensor: 'tamper', faulted: false },
} as const satisfies Partial<Record<EventType, { sensor: Sensor; faulted: boolean }>>;

export type SensorEventType = keyof typeof SENSOR_EVENTS;

interface EventMeta {
  /** Ring's idempotency key, a UUID in lower case. */
  requestId: string;
  accountId: string;
  /** When Ring sent the event for the first time, by Ring's clock. */
  sentAt: Date;
  /** When the event happened, by Ring's clock. */
  occurredAt: Date;
}

/** An event of one type, as its handler gets it. */
export type EventOf<Type extends EventType> = EventMeta & z.output<(typeof DATA)[Type]> & { occurredAt: Date };

export type RingEvent = { [Type in EventType]: EventOf<Type> }[EventType];

/** An event of a type that Ring has added since. */
export type UnknownEvent = EventMeta & { type: 'unknown'; typeName: string };

export type ParsedEvent =
  | { kind: 'event'; event: RingEvent }
  | { kind: 'unknown'; event: UnknownEvent }
  /** `field` is a path such as `data.attributes.timestamp`; `problem` says what was expected and quotes nothing. */
  | { kind: 'malformed'; field: string; problem: string };

const Envelope = z.object({ meta: Meta, data: z.object({ id: someText(512), type: someText(200) }) });

/** Reads the body of a webhook whose signature is good. */
export function parseEvent(rawBody: Buffer): ParsedEvent {
  const json = parseJson(rawBody);
  if (json === undefined) return { kind: 'malformed', field: 'body', problem: 'expected JSON in UTF-8' };
  const envelope = Envelope.safeParse(json);
  if (!envelope.success) return malformed(envelope.error, []);

  const { meta, data } = envelope.data;
  const common = { requestId: meta.request_id.toLowerCase(), accountId: meta.account_id, sentAt: meta.time };
  if (!isKnown(data.type)) {
    return { kind: 'unknown', event: { ...common, occurredAt: meta.time, type: 'unknown', typeName: data.type } };
  }
  const parsed = DATA[data.type].safeParse((json as { data: unknown }).data);
  if (!parsed.success) return malformed(parsed.error, ['data']);
  const occurredAt = parsed.data.occurredAt ?? meta.time;
  return { kind: 'event', event: { ...common, ...parsed.data, occurredAt } };
}

export function isKnown(type: string): type is EventType {
  return Object.hasOwn(DATA, type);
}

/** Shared, because making a decoder costs more than decoding an event. */
const UTF8 = new TextDecoder('utf-8', { fatal: true });

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(UTF8.decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

function malformed({ issues }: z.ZodError, prefix: string[]): ParsedEvent {
  const [issue] = issues;
  const path = [...prefix, ...(issue?.path ?? [])].map(String);
  return { kind: 'malformed', field: path.join('.') || 'body', problem: issue?.message ?? 'not as documented' };
}
