import { randomInt } from 'node:crypto';
import { Router } from 'express';
import { z } from 'zod';
import { eventWishSchema, NoDevice } from '../outbound/events.js';
import type { Mail } from '../outbound/webhooks.js';
import { DELIVER, post, prepare, replayDeadLetters } from '../outbound/webhooks.js';
import type { Attempt, Delivery } from '../state/deliveries.js';
import type { Simulation } from '../state/state.js';
import { ControlError, findUser } from './errors.js';

/** The most events in one batch. */
const MOST_EVENTS = 1_000;

const newEvent = eventWishSchema.extend({
  user_id: z.string(),
  effect: z.boolean().default(true),
  deliver: z.enum(DELIVER).default('normal'),
  wait: z.boolean().default(true),
});
type NewEvent = z.infer<typeof newEvent>;

const ORDERS = ['as-given', 'reversed', 'shuffled', 'simultaneous'] as const;
type Order = (typeof ORDERS)[number];
const newBatch = z.strictObject({
  events: z.array(newEvent).min(1).max(MOST_EVENTS),
  order: z.enum(ORDERS).default('as-given'),
});

/** The part of the control API that sends webhooks. */
export function webhookControls(simulation: Simulation): Router {
  const router = Router();

  router.post('/events', async (request, response) => {
    const wanted = newEvent.parse(request.body);
    const mail = prepareEvent(simulation, wanted);
    const sending = post(simulation, mail);
    response.status(201).json(mailAnswer(mail, wanted.wait ? await sending : []));
  });

  router.post('/event-batches', async (request, response) => {
    const { events, order } = newBatch.parse(request.body);
    // The events happen one after another, the last one now. `order` is only the order of their delivery.
    const firstAt = simulation.now() - events.length + 1;
    const mails = events.map((event, index) => prepareEvent(simulation, { timestamp: firstAt + index, ...event }));
    const attempts = await postAll(simulation, mails, order);
    response.status(201).json(mails.map((mail) => mailAnswer(mail, attempts.get(mail) ?? [])));
  });

  router.get('/deliveries', (_request, response) => {
    response.json(simulation.state.deliveries.list().map(deliveryAnswer));
  });

  router.post('/dead-letters/replay', async (_request, response) => {
    response.json({ replayed: await replayDeadLetters(simulation) });
  });
  return router;
}

function prepareEvent(simulation: Simulation, { user_id, effect, deliver, ...wish }: NewEvent): Mail {
  const user = findUser(simulation, user_id);
  try {
    return prepare(simulation, user, wish, { effect, deliver });
  } catch (error) {
    if (error instanceof NoDevice) throw new ControlError(409, error.message);
    throw error;
  }
}

/** Sends them in a row, each after the first attempt of the one before, or all at the same moment. */
async function postAll(simulation: Simulation, mails: Mail[], order: Order): Promise<Map<Mail, Attempt[]>> {
  const attempts = new Map<Mail, Attempt[]>();
  const postOne = async (mail: Mail): Promise<void> => {
    attempts.set(mail, await post(simulation, mail));
  };
  if (order === 'simultaneous') await Promise.all(mails.map(postOne));
  else for (const mail of inOrder(mails, order)) await postOne(mail);
  return attempts;
}

function inOrder<Item>(items: readonly Item[], order: Exclude<Order, 'simultaneous'>): Item[] {
  switch (order) {
    case 'as-given':
      return [...items];
    case 'reversed':
      return items.toReversed();
    case 'shuffled':
      return shuffled(items);
  }
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  const shuffle: Item[] = [];
  for (const item of items) shuffle.splice(randomInt(shuffle.length + 1), 0, item);
  return shuffle;
}

function mailAnswer({ event, body, signature }: Mail, attempts: Attempt[]): object {
  return {
    request_id: event.meta.request_id,
    event,
    body,
    signature,
    attempts: attempts.map(({ status }) => ({ status })),
  };
}

function deliveryAnswer({ request_id, type, account_id, state, attempts }: Delivery): object {
  return { request_id, type, account_id, state, attempts };
}
