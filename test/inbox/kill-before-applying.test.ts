import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { holdAccount, inboxOf, untilProcessed } from '../support/features/inbox.js';
import { linked } from '../support/features/linking.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import { type AppProcess, createProcessWorld, freePorts, type ProcessWorld } from '../support/worlds/process.js';
import type { RingUser } from '../support/worlds/ring.js';

/** An instance that dies, or is stopped, between the commit of an event and its applying: the account is locked meanwhile. */

const EVENTS = 20;
/** The longest delay in ms that is promised after a crash. */
const FOUND_WITHIN_MS = 10_000;

let world: ProcessWorld;
let ringUser: RingUser;
let app: AppProcess;
let release: () => Promise<void>;

beforeAll(async () => {
  world = await createProcessWorld();
  const first = await world.startApp();
  ({ ringUser } = await linked(world));
  await untilProcessed(world, ringUser);
  await world.sql('CREATE TABLE applied (number serial, request_id uuid)');
  await world.sql(`
    CREATE FUNCTION note_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO applied (request_id) VALUES (NEW.request_id);
      RETURN NEW;
    END $$`);
  await world.sql(
    'CREATE TRIGGER note_event BEFORE INSERT ON device_events FOR EACH ROW EXECUTE FUNCTION note_event()',
  );
  first.kill('SIGKILL');
  await first.ended;
});
beforeEach(async () => {
  await world.sql('DELETE FROM applied');
  app = await world.startApp();
  release = await holdAccount(world, ringUser);
});
afterEach(async () => {
  await release();
  app.kill('SIGKILL');
  await app.ended;
});
afterAll(() => world.stop());

/** Delivers events that are all answered 200, one after the other. @returns their request IDs */
async function deliverTo(origin: string): Promise<string[]> {
  const sent: string[] = [];
  for (let index = 0; index < EVENTS; index++) {
    const event = newEvent({ accountId: ringUser.account_id });
    const answer = await deliver(origin, JSON.stringify(event), { key: world.environment.RING_HMAC_KEY ?? '' });
    expect(answer.status).toBe(200);
    sent.push(event.meta.request_id);
  }
  return sent;
}

async function applied(): Promise<string[]> {
  const found = await world.sql<{ request_id: string }>('SELECT request_id FROM applied ORDER BY number');
  return found.map(({ request_id }) => request_id);
}

const untilApplied = (count: number) => {
  const enough = async () => (await applied()).length >= count;
  return until(`${count} events are applied`, enough, scaled(FOUND_WITHIN_MS));
};

test('after the only instance was killed, the next one applies what it had stored, in order and once', async () => {
  const sent = await deliverTo(world.url);
  app.kill('SIGKILL');
  await app.ended;
  await release();
  expect(await applied()).toEqual([]);

  app = await world.startApp();
  await untilApplied(EVENTS);
  await untilProcessed(world, ringUser);

  expect(await applied()).toEqual(sent);
});

test('after one of two instances was killed, the other one applies what that had stored, before later events', async () => {
  const port = await freePorts();
  const other = await world.startApp({ PORT: `${port}`, PUBLIC_URL: `http://localhost:${port}` });
  const sent = await deliverTo(world.url);
  app.kill('SIGKILL');
  await app.ended;
  await release();
  const [later] = await Promise.all([deliverTo(`http://localhost:${port}`), untilApplied(EVENTS)]);
  await untilProcessed(world, ringUser);

  expect(await applied()).toEqual([...sent, ...later]);
  other.kill('SIGKILL');
  await other.ended;
});

test('an instance that is told to stop leaves what waits to the next one', async () => {
  const sent = await deliverTo(world.url);
  app.kill('SIGTERM');
  expect(await app.ended).toEqual({ code: 0, signal: null });
  await release();
  expect((await inboxOf(world, ringUser)).filter(({ status }) => status === 'PENDING')).toHaveLength(EVENTS);

  app = await world.startApp();
  await untilApplied(EVENTS);

  expect(await applied()).toEqual(sent);
});
