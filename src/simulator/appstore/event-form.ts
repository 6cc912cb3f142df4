import { z } from 'zod';
import type { EventWish } from '../outbound/events.js';
import type { Deliver } from '../outbound/webhooks.js';
import type { Markup } from './markup.js';
import { markup } from './markup.js';

const LATE_BY_MS = 600_000;

const HOW = ['once', 'twice', 'late', 'dropped', 'bad-signature'] as const;
type How = (typeof HOW)[number];
const MOTIONS = ['motion', 'human', 'vehicle', 'animal', 'package', 'other_motion'] as const;

const HOW_LABELS: Record<How, string> = {
  once: 'Once',
  twice: 'Twice at the same moment',
  late: 'Ten minutes late',
  dropped: 'Not at all',
  'bad-signature': 'With a broken signature',
};

/** The choices that are common to all buttons of the form, with their words on the page. */
export const EVENT_FORM_CHOICES = {
  how: HOW.map((how) => [how, HOW_LABELS[how]] as const),
  motion: MOTIONS.map((motion) => [motion, motion.replace('_', ' ')] as const),
};

const choices = z.object({ how: z.enum(HOW).catch('once'), motion: z.enum(MOTIONS).catch('human') });
export type EventFormChoices = z.infer<typeof choices>;

/** The value of a button: the type of the event, a space, and what the event is about. */
const pressed = z.object({ event: z.string().regex(/^[a-z_]+ /) });

export type PressedEvent =
  { kind: 'event'; wish: EventWish; deliver: Deliver; choices: EventFormChoices } | { kind: 'none' };

/** The choices that were made, or the usual ones. */
export function readChoices(form: unknown): EventFormChoices {
  return choices.parse(form ?? {});
}

/** @param now epoch ms */
export function readPressedEvent(form: unknown, now: number): PressedEvent {
  const button = pressed.safeParse(form).data;
  if (button === undefined) return { kind: 'none' };
  const chosen = readChoices(form);
  const at = button.event.indexOf(' ');
  const wish = wishOf(button.event.slice(0, at), button.event.slice(at + 1), chosen);
  return {
    kind: 'event',
    wish: chosen.how === 'late' ? { ...wish, timestamp: now - LATE_BY_MS } : wish,
    deliver: chosen.how === 'once' || chosen.how === 'late' ? 'normal' : chosen.how,
    choices: chosen,
  };
}

/** @param about the device, or `paid` or `trial` for a subscription */
export function eventButton(type: string, about: string, label: string, description = label): Markup {
  return markup`<button class="quiet" name="event" value="${type} ${about}" aria-label="${description}">${label}</button>`;
}

function wishOf(type: string, about: string, { motion }: EventFormChoices): EventWish {
  if (about === '') return { type };
  if (type.startsWith('subscription_')) return { type, sub_type: about };
  return { type, device_id: about, ...(type === 'motion_detected' && { sub_type: motion }) };
}
