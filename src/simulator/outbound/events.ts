import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { RingUser } from '../state/accounts.js';
import type { Sensor } from '../state/devices.js';
import type { Subscription } from '../state/subscriptions.js';

const DAY_MS = 24 * 60 * 60 * 1_000;
const SUBSCRIPTION_DAYS = 30;

/** The events of sensors: what each says about which one. Faulted is open, wet, cold or tampered with. */
export const SENSOR_EVENTS: ReadonlyMap<string, { sensor: Sensor; isFaulted: boolean }> = new Map([
  ['contact_sensor_faulted', { sensor: 'contact_detection', isFaulted: true }],
  ['contact_sensor_cleared', { sensor: 'contact_detection', isFaulted: false }],
  ['flood_detected', { sensor: 'flood_detection', isFaulted: true }],
  ['flood_cleared', { sensor: 'flood_detection', isFaulted: false }],
  ['freeze_detected', { sensor: 'freeze_detection', isFaulted: true }],
  ['freeze_cleared', { sensor: 'freeze_detection', isFaulted: false }],
  ['tamper_detected', { sensor: 'tamper_detection', isFaulted: true }],
  ['tamper_cleared', { sensor: 'tamper_detection', isFaulted: false }],
]);

/** Events of one device. event-effects.ts decides whether they also change Ring's state. */
const DEVICE_EVENTS = [
  'motion_detected',
  'button_press',
  'device_added',
  'device_removed',
  'device_online',
  'device_offline',
  ...SENSOR_EVENTS.keys(),
];
const APP_EVENTS = ['app_integration_added', 'app_integration_removed'];
const SUBSCRIPTION_EVENTS = ['subscription_activated', 'subscription_deactivated'];

const text = z.string().min(1).max(200);

/** An event as a script or a page asks for it. What is left out is filled in. */
export const eventWishSchema = z.strictObject({
  /** One of the known types, or any text: Ring may add types. */
  type: text,
  /** The device of a device event; the user's first unless given. Ring needn't know it. */
  device_id: text.optional(),
  /** The class of a motion, or `paid` or `trial` for a subscription. */
  sub_type: text.optional(),
  /** The place of a motion's class; `data` unless given. */
  sub_type_in: z.enum(['data', 'attributes']).optional(),
  source_type: text.optional(),
  /** The cameras of a device with several. */
  component_ids: z.array(text).max(100).optional(),
  /** The time of the event in epoch ms; now unless given. */
  timestamp: z.int().optional(),
  /** The exact text of `meta.time`; the timestamp with nanoseconds unless given. */
  time: text.optional(),
  request_id: text.optional(),
  subscription_id: text.optional(),
  plan_id: text.nullable().optional(),
  expires_at: text.nullable().optional(),
  /** The devices that the subscription covers; all that the user shares with the app unless given. */
  device_ids: z.array(text).max(1_000).optional(),
});
export type EventWish = z.infer<typeof eventWishSchema>;

export interface RingEvent {
  meta: { version: '1.1'; time: string; request_id: string; account_id: string };
  data: {
    id: string;
    type: string;
    subType?: string;
    attributes: Record<string, unknown>;
    relationships?: object;
  };
}

/** Something that happened at Ring: the event to send, and what it concerns. */
export interface Happening {
  event: RingEvent;
  /** epoch ms */
  at: number;
  /** The class of a motion. */
  sub_type?: string | undefined;
  /** The device that it happened to. */
  device_id?: string;
  /** The subscription as it is afterwards. */
  subscription?: Subscription;
}

/** The user has no device for a device event. */
export class NoDevice extends Error {}

/**
 * Fills in the event that was asked for, in Ring's envelope, version 1.1.
 *
 * @param now epoch ms
 * @throws {NoDevice} for a device event without a device
 */
export function happen(user: RingUser, wish: EventWish, now: number): Happening {
  const timestamp = wish.timestamp ?? now;
  const meta = {
    version: '1.1' as const,
    time: wish.time ?? withNanoseconds(timestamp),
    request_id: wish.request_id ?? randomUUID(),
    account_id: user.account_id,
  };
  const envelope = (data: Omit<RingEvent['data'], 'id' | 'type'>): RingEvent => ({
    meta,
    data: { id: `event-${randomBytes(12).toString('hex')}`, type: wish.type, ...data },
  });

  if (SUBSCRIPTION_EVENTS.includes(wish.type)) {
    const subscription = subscriptionAfter(user, wish, timestamp);
    return { event: envelope(aboutSubscription(subscription, wish)), at: timestamp, subscription };
  }
  const device_id = deviceOf(user, wish);
  if (device_id === undefined) {
    return { event: envelope(aboutAccount(user, wish, timestamp)), at: timestamp };
  }
  const sub_type = subTypeOf(wish);
  return { event: envelope(aboutDevice(device_id, sub_type, wish, timestamp)), at: timestamp, sub_type, device_id };
}

function subTypeOf({ sub_type, type }: EventWish): string | undefined {
  return sub_type ?? (type === 'motion_detected' ? 'motion' : undefined);
}

function aboutDevice(
  source: string,
  subType: string | undefined,
  wish: EventWish,
  timestamp: number,
): Omit<RingEvent['data'], 'id' | 'type'> {
  const inAttributes = wish.sub_type_in === 'attributes';
  return {
    ...(subType !== undefined && !inAttributes && { subType }),
    attributes: {
      source,
      source_type: wish.source_type ?? 'devices',
      timestamp,
      ...(subType !== undefined && inAttributes && { sub_type: subType }),
      ...(wish.component_ids !== undefined && { component_ids: wish.component_ids }),
    },
    relationships: { devices: { links: { self: `/v1/devices/${encodeURIComponent(source)}` } } },
  };
}

function aboutAccount(user: RingUser, wish: EventWish, timestamp: number): Omit<RingEvent['data'], 'id' | 'type'> {
  return { attributes: { source: user.account_id, source_type: wish.source_type ?? 'users', timestamp } };
}

/** The events of a subscription have no timestamp. */
function aboutSubscription(
  { id, sub_type, plan_id, expires_at, device_ids, status }: Subscription,
  wish: EventWish,
): Omit<RingEvent['data'], 'id' | 'type'> {
  return {
    attributes: {
      source: 'subscriptions',
      source_id: id,
      ...(wish.source_type !== undefined && { source_type: wish.source_type }),
      sub_type,
      plan_id,
      ...(status === 'active' && { expires_at }),
    },
    relationships: {
      devices: { data: device_ids.map((device_id) => ({ type: 'device', id: device_id })) },
      subscriptions: { links: { self: '/v1/accounts/me/subscriptions' } },
    },
  };
}

function deviceOf(user: RingUser, { type, device_id }: EventWish): string | undefined {
  if (APP_EVENTS.includes(type)) return undefined;
  if (!DEVICE_EVENTS.includes(type)) return device_id;
  const found = device_id ?? user.integration?.device_ids[0] ?? user.devices[0]?.id;
  if (found === undefined) throw new NoDevice('this user has no device, and the event names none');
  return found;
}

/** The subscription after the event. It is the one with the given ID, or for a deactivation the newest active one. */
function subscriptionAfter(user: RingUser, wish: EventWish, timestamp: number): Subscription {
  const isActivation = wish.type === 'subscription_activated';
  const before = user.subscriptions.findLast(({ id, status }) =>
    wish.subscription_id === undefined ? !isActivation && status === 'active' : id === wish.subscription_id,
  );
  const sub_type = wish.sub_type ?? before?.sub_type ?? 'paid';
  const usualEnd = new Date(timestamp + SUBSCRIPTION_DAYS * DAY_MS).toISOString();
  return {
    id: wish.subscription_id ?? before?.id ?? `subscription-${randomBytes(8).toString('hex')}`,
    sub_type,
    status: isActivation ? 'active' : 'inactive',
    plan_id: sub_type === 'trial' ? (wish.plan_id ?? null) : firstGiven(wish.plan_id, before?.plan_id, 'plan-standard'),
    expires_at: firstGiven(wish.expires_at, before?.expires_at, usualEnd),
    created_at: before?.created_at ?? new Date(timestamp).toISOString(),
    device_ids: wish.device_ids ?? before?.device_ids ?? [...(user.integration?.device_ids ?? [])],
  };
}

/** The first value that is given. `??` would skip null, which is a value here. */
function firstGiven(
  wished: string | null | undefined,
  before: string | null | undefined,
  usual: string | null,
): string | null {
  if (wished !== undefined) return wished;
  return before === undefined ? usual : before;
}

function withNanoseconds(epochMs: number): string {
  const beyondMs = String(randomInt(1_000_000)).padStart(6, '0');
  return `${new Date(epochMs).toISOString().slice(0, -1)}${beyondMs}Z`;
}
