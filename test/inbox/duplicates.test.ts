import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { untilProcessed } from '../support/features/inbox.js';
import { linked } from '../support/features/linking.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
/** The addresses of the two instances. */
let origins: string[];
let ringUser: RingUser;

beforeAll(async () => {
  world = await startWorld();
  const other = await world.startAnother();
  origins = [world.url, `http://localhost:${other.port}`];
  ({ ringUser } = await linked(world));
  // Records every attempt to record an event, including those that find it recorded.
  await world.sql('CREATE TABLE effects (request_id uuid)');
  await world.sql(`
    CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO effects (request_id) VALUES (NEW.request_id);
      RETURN NEW;
    END $$`);
  await world.sql(
    'CREATE TRIGGER note_effect BEFORE INSERT ON device_events FOR EACH ROW EXECUTE FUNCTION note_effect()',
  );
});
afterAll(() => world.stop());

/** Delivers all of them at the same moment, to the instances in turn. Returns the different statuses of the answers. */
async function deliverAtOnce(bodies: string[]): Promise<number[]> {
  const answers = await Promise.all(bodies.map((body, index) => deliver(origins[index % origins.length] ?? '', body)));
  return [...new Set(answers.map(({ status }) => status))];
}

interface Found {
  rows: string[];
  effects: string[];
}

async function find(requestIds: string[]): Promise<Found> {
  const ids = async (table: string) => {
    const found = await world.sql<{ request_id: string }>(
      `SELECT request_id FROM ${table} WHERE request_id = ANY ($1::uuid[]) ORDER BY request_id`,
      [requestIds],
    );
    return found.map(({ request_id }) => request_id);
  };
  return { rows: await ids('webhook_events'), effects: await ids('effects') };
}

const newEvents = (count: number) =>
  Array.from({ length: count }, () => newEvent({ accountId: ringUser.account_id, type: 'motion_detected' }));

describe('fifty deliveries of one event at the same moment', () => {
  test.each([
    { where: 'to one instance', instances: 1 },
    { where: 'to two instances', instances: 2 },
  ])('$where are all answered 200, and are one row and one effect', async ({ instances }) => {
    const [event = newEvent()] = newEvents(1);
    const body = JSON.stringify(event);
    const requestId = event.meta.request_id;
    const to = origins.slice(0, instances);

    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => deliver(to[index % instances] ?? '', body)),
    );
    await untilProcessed(world, ringUser);

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await find([requestId])).toEqual({ rows: [requestId], effects: [requestId] });
  });

  test('and again when it is long applied change nothing', async () => {
    const [event = newEvent()] = newEvents(1);
    const body = JSON.stringify(event);
    expect((await deliver(world.url, body)).status).toBe(200);
    await untilProcessed(world, ringUser);

    expect(await deliverAtOnce(Array<string>(50).fill(body))).toEqual([200]);
    await untilProcessed(world, ringUser);

    const requestId = event.meta.request_id;
    expect(await find([requestId])).toEqual({ rows: [requestId], effects: [requestId] });
  });
});

describe('fifty events, each delivered four times, all at the same moment to two instances', () => {
  test.each([
    ['one after the other', (bodies: string[]) => [...bodies, ...bodies, ...bodies, ...bodies]],
    ['side by side', (bodies: string[]) => bodies.flatMap((body) => [body, body, body, body])],
    [
      'in opposite orders',
      (bodies: string[]) => [...bodies, ...bodies.toReversed(), ...bodies, ...bodies.toReversed()],
    ],
  ])('%s, are all answered 200, and are fifty rows and fifty effects', async (_order, arrange) => {
    const events = newEvents(50);
    const requestIds = events.map(({ meta }) => meta.request_id).sort();

    expect(await deliverAtOnce(arrange(events.map((event) => JSON.stringify(event))))).toEqual([200]);
    await untilProcessed(world, ringUser);

    expect(await find(requestIds)).toEqual({ rows: requestIds, effects: requestIds });
  });
});

describe('a batch with an event that Postgres refuses', () => {
  test('answers 503 or 500 for that one, and stores the others', async () => {
    await world.sql(
      `ALTER TABLE webhook_events ADD CONSTRAINT refused CHECK (account_id <> 'ava1.ring.account.refused')`,
    );
    try {
      const events = newEvents(30);
      const refused = newEvent({ accountId: 'ava1.ring.account.refused' });
      const deliveries = [...events.slice(0, 15), refused, ...events.slice(15)];
      const answers = await Promise.all(deliveries.map((event) => deliver(world.url, JSON.stringify(event))));

      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(30);
      // The event of Ring's is valid, so the answer must not make Ring drop it.
      expect(statuses[15]).toBeGreaterThanOrEqual(500);
      await untilProcessed(world, ringUser);
      const requestIds = events.map(({ meta }) => meta.request_id).sort();
      expect(await find([...requestIds, refused.meta.request_id])).toEqual({ rows: requestIds, effects: requestIds });
    } finally {
      await world.sql('ALTER TABLE webhook_events DROP CONSTRAINT refused');
    }
  });
});
