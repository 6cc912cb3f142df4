import { setTimeout as sleep } from 'node:timers/promises';
import type { RingUser } from '../state/accounts.js';
import type { Attempt, Delivery, DeliveryState } from '../state/deliveries.js';
import type { Simulation, State } from '../state/state.js';
import { takeEffect } from './event-effects.js';
import type { EventWish, Happening, RingEvent } from './events.js';
import { happen } from './events.js';
import { webhookSignature } from './signing.js';

/** The ways to deliver an event. `twice`: two deliveries at the same moment. `dropped`: none. */
export const DELIVER = ['normal', 'twice', 'dropped', 'bad-signature'] as const;
export type Deliver = (typeof DELIVER)[number];

/** How long this Ring waits for the app to answer a webhook. */
const WEBHOOK_TIMEOUT_MS = 5_000;

/** The pause before each retry: 1 s, 5 s, 30 s, 2 min, 10 min, 1 h. The setting `webhookSpeed` divides it. */
const RETRY_AFTER_MS = [1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000];

/** An event that is signed and ready, with its deliveries. */
export interface Mail {
  event: RingEvent;
  body: string;
  signature: string;
  deliveries: Delivery[];
}

/** Lets an event happen at Ring (unless `effect` is false) and signs it. `post` sends it. */
export function prepare(
  simulation: Simulation,
  user: RingUser,
  wish: EventWish,
  { effect = true, deliver = 'normal' }: { effect?: boolean; deliver?: Deliver } = {},
): Mail {
  const happening = happen(user, wish, simulation.now());
  if (effect) takeEffect(simulation, user, happening);
  return sign(simulation, happening, deliver);
}

/** Sends a prepared event. Returns the first attempt of each delivery; retries go on by themselves. */
export function post(simulation: Simulation, { deliveries }: Mail): Promise<Attempt[]> {
  const { state } = simulation;
  for (const delivery of deliveries) state.deliveries.add(delivery);
  const sent = deliveries.filter((delivery) => delivery.state !== 'dropped');
  return Promise.all(sent.map((delivery) => startDelivery(simulation, state, delivery)));
}

/** Tells the app what has just happened, if webhooks are automatic. Does not wait for the answer. */
export function announce(simulation: Simulation, user: RingUser, wish: EventWish): void {
  if (!simulation.state.settings.automaticWebhooks) return;
  void post(simulation, prepare(simulation, user, wish, { effect: false }));
}

/** Sends all dead letters again, with all retries. Returns how many, after the first attempt of each. */
export async function replayDeadLetters(simulation: Simulation): Promise<number> {
  const { state } = simulation;
  const dead = state.deliveries.deadLetters(simulation.now());
  for (const delivery of dead) delivery.state = 'retrying';
  await Promise.all(dead.map((delivery) => startDelivery(simulation, state, delivery)));
  return dead.length;
}

function sign({ app }: Simulation, { event }: Happening, deliver: Deliver): Mail {
  const body = JSON.stringify(event);
  const signature = webhookSignature(deliver === 'bad-signature' ? `another ${app.hmacKey}` : app.hmacKey, body);
  const delivery = (): Delivery => ({
    request_id: event.meta.request_id,
    type: event.data.type,
    account_id: event.meta.account_id,
    body,
    signature,
    state: deliver === 'dropped' ? 'dropped' : 'retrying',
    attempts: [],
  });
  return { event, body, signature, deliveries: deliver === 'twice' ? [delivery(), delivery()] : [delivery()] };
}

async function startDelivery(simulation: Simulation, state: State, delivery: Delivery): Promise<Attempt> {
  const first = await tryOnce(simulation, state, delivery);
  void retry(simulation, state, delivery);
  return first;
}

async function retry(simulation: Simulation, state: State, delivery: Delivery): Promise<void> {
  for (const delayMs of RETRY_AFTER_MS) {
    if (delivery.state !== 'retrying') return;
    try {
      await sleep(delayMs / state.settings.webhookSpeed, undefined, { signal: state.lifetime.signal });
    } catch {
      // The simulator was reset or closed, so the event is not needed any more.
      return;
    }
    await tryOnce(simulation, state, delivery);
  }
  if (delivery.state === 'retrying') delivery.state = 'dead-letter';
}

async function tryOnce(simulation: Simulation, state: State, delivery: Delivery): Promise<Attempt> {
  const at = simulation.now();
  const startedAt = performance.now();
  const status = await send(simulation, state, delivery);
  const attempt = { at, status, ms: Math.round(performance.now() - startedAt) };
  delivery.attempts.push(attempt);
  delivery.state = stateAfter(status);
  simulation.log(`webhook ${delivery.type} -> ${status ?? 'no answer'}`);
  return attempt;
}

async function send({ app }: Simulation, { lifetime }: State, { body, signature }: Delivery): Promise<number | null> {
  try {
    const response = await fetch(`${app.internalUrl}/webhooks/ring`, {
      method: 'POST',
      redirect: 'manual',
      signal: AbortSignal.any([lifetime.signal, AbortSignal.timeout(WEBHOOK_TIMEOUT_MS)]),
      headers: { 'Content-Type': 'application/json', 'X-Signature': signature },
      body,
    });
    await response.body?.cancel();
    return response.status;
  } catch {
    return null;
  }
}

function stateAfter(status: number | null): DeliveryState {
  if (status === null) return 'retrying';
  if (status >= 200 && status < 300) return 'delivered';
  return status >= 400 && status < 500 ? 'refused' : 'retrying';
}
