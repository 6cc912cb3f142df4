import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { newEvent } from '../support/clients/webhooks.js';
import { holdAccount, inboxOf, leaveBehind, untilIdle, untilProcessed } from '../support/features/inbox.js';
import { installed, linked } from '../support/features/linking.js';
import { tick, tickAndFinish } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { spawnProcess } from '../support/worlds/process.js';
import type { EventWish, RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const RERUN = fileURLToPath(new URL('../../src/commands/webhooks-rerun.js', import.meta.url));

let world: World;
beforeAll(async () => {
  world = await startWorld();
  // A row about a poisoned device can't be written, and written rows are numbered.
  await world.sql(`CREATE TABLE applied (number serial, request_id uuid)`);
  await world.sql(`
    CREATE FUNCTION note_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.device_id LIKE 'poison%' THEN RAISE EXCEPTION 'the device is poisoned'; END IF;
      INSERT INTO applied (request_id) VALUES (NEW.request_id);
      RETURN NEW;
    END $$`);
  await world.sql(
    'CREATE TRIGGER note_event BEFORE INSERT ON device_events FOR EACH ROW EXECUTE FUNCTION note_event()',
  );
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

let devices = 0;
const newDevice = (name = 'device'): string => `${name}-${++devices}`;

async function newLinkedUser(): Promise<RingUser> {
  const { ringUser } = await linked(world);
  await untilIdle(world);
  return ringUser;
}

async function press(ringUser: RingUser, device_id: string, more: Partial<EventWish> = {}): Promise<string> {
  const event = { user_id: ringUser.id, type: 'button_press', device_id, effect: false, ...more };
  return (await world.ring.sendEvent(event)).request_id;
}

async function appliedOf(requestIds: string[]): Promise<string[]> {
  const found = await world.sql<{ request_id: string }>(
    'SELECT request_id FROM applied WHERE request_id = ANY ($1::uuid[]) ORDER BY number',
    [requestIds],
  );
  return found.map(({ request_id }) => request_id);
}

describe('the events of one account', () => {
  test('are applied in the order of arrival, while those of another account go on', async () => {
    const [held, free] = [await newLinkedUser(), await newLinkedUser()];
    const device = newDevice();
    const release = await holdAccount(world, held);
    const waiting: string[] = [];
    const going: string[] = [];
    for (let round = 0; round < 30; round++) {
      // Their timestamps run backwards, because only the order of arrival counts.
      waiting.push(await press(held, device, { timestamp: world.clock.now().getTime() - round }));
      going.push(await press(free, device));
    }

    await until('the free account is done', async () => (await appliedOf(going)).length === going.length);
    expect(await appliedOf(waiting)).toEqual([]);
    await release();
    await untilProcessed(world, held);

    expect(await appliedOf(waiting)).toEqual(waiting);
    expect(await appliedOf(going)).toEqual(going);
  });

  test('are applied in order by two instances too', async () => {
    const ringUser = await newLinkedUser();
    const device = newDevice();
    await world.startAnother();
    const sent: string[] = [];

    for (let round = 0; round < 100; round++) sent.push(await press(ringUser, device));
    await untilProcessed(world, ringUser);

    expect(await appliedOf(sent)).toEqual(sent);
  });
});

describe('an event that can not be applied', () => {
  test('is tried again with growing pauses, and those behind it wait', async () => {
    const ringUser = await newLinkedUser();
    const poisoned = await press(ringUser, newDevice('poison'));
    const behind = await press(ringUser, newDevice());

    const pauses: number[] = [];
    for (const attempts of [1, 2, 3]) {
      const [failed] = await until(`${attempts} attempts have failed`, async () => {
        const found = await world.sql<{ pause: number }>(
          `SELECT extract(epoch FROM retry_at - now())::float AS pause FROM webhook_events
            WHERE request_id = $1 AND attempts = $2`,
          [poisoned, attempts],
        );
        return found.length > 0 && found;
      });
      pauses.push(failed?.pause ?? 0);
    }

    // The pauses are 1, 2 and 4 s, seen within a second.
    expect(pauses.map((pause) => Math.ceil(pause))).toEqual([1, 2, 4]);
    expect(await inboxOf(world, ringUser)).toMatchObject([
      { status: 'PENDING', attempts: 3, last_error: 'P0001 the device is poisoned' },
      { status: 'PENDING', attempts: 0 },
    ]);
    expect(await appliedOf([behind])).toEqual([]);
  });

  test('leaves other accounts alone', async () => {
    const [ill, well] = [await newLinkedUser(), await newLinkedUser()];
    await press(ill, newDevice('poison'));

    const requestId = await press(well, newDevice());
    await untilProcessed(world, well);

    expect(await appliedOf([requestId])).toEqual([requestId]);
  });

  test('is given up in the end, stays visible, lets the others pass, and can be run again by a command', async () => {
    const ringUser = await newLinkedUser();
    const poison = newDevice('poison');
    const poisoned = await press(ringUser, poison);
    await until('it has failed', async () => (await inboxOf(world, ringUser))[0]?.attempts === 1);
    await world.sql('UPDATE webhook_events SET attempts = 11, retry_at = now() WHERE request_id = $1', [poisoned]);
    const behind = await press(ringUser, newDevice());
    await until('those behind it pass', async () => (await appliedOf([behind])).length === 1);
    expect(await inboxOf(world, ringUser)).toMatchObject([
      { request_id: poisoned, status: 'FAILED', attempts: 12, last_error: 'P0001 the device is poisoned' },
      { request_id: behind, status: 'PROCESSED' },
    ]);
    expect((await rerun()).output).toContain(poisoned);

    world.clock.advance(8 * 86_400);
    await tick('purge the inbox');
    await until('what was applied is purged', async () => (await inboxOf(world, ringUser)).length === 1);
    expect(await inboxOf(world, ringUser)).toMatchObject([{ status: 'FAILED' }]);

    await world.sql('ALTER TABLE device_events DISABLE TRIGGER note_event');
    expect(await rerun(poisoned)).toMatchObject({ code: 0 });
    await untilProcessed(world, ringUser);
    await world.sql('ALTER TABLE device_events ENABLE TRIGGER note_event');
    expect(await inboxOf(world, ringUser)).toMatchObject([{ status: 'PROCESSED', last_error: null }]);
    const [event] = await world.sql('SELECT device_id FROM device_events WHERE request_id = $1', [poisoned]);
    expect(event).toEqual({ device_id: poison });
  });

  test('is not found by a command for something that has not failed', async () => {
    const ringUser = await newLinkedUser();
    const requestId = await press(ringUser, newDevice());
    await untilProcessed(world, ringUser);

    expect((await rerun(requestId)).output).toContain('0 failed events');
    expect((await rerun('no-uuid')).code).toBe(1);
  });

  async function rerun(...args: string[]): Promise<{ code: number | null; output: string }> {
    const command = spawnProcess(process.execPath, [RERUN, ...args], { DATABASE_URL: world.databaseUrl });
    const { code } = await command.ended;
    return { code, output: command.stdout() };
  }
});

describe('the inbox', () => {
  test('is swept: an event that no instance has in its memory is applied', async () => {
    const ringUser = await newLinkedUser();
    const event = newEvent({ accountId: ringUser.account_id, deviceId: newDevice() });

    await leaveBehind(world, event);
    await untilProcessed(world, ringUser);

    expect(await appliedOf([event.meta.request_id])).toEqual([event.meta.request_id]);
  });

  test('keeps rows for seven days, and those that wait for a link too', async () => {
    const [linkedUser, waitingUser] = [await newLinkedUser(), await installed(world)];
    await press(linkedUser, newDevice());
    await press(waitingUser, newDevice());
    await world.ring.sendEvent({ user_id: linkedUser.id, type: 'garage_opened' });
    await untilIdle(world);

    world.clock.advance(7 * 86_400 - 60);
    await tickAndFinish('purge the inbox', world.url);
    expect((await inboxOf(world, linkedUser)).map(({ status }) => status)).toEqual(['PROCESSED', 'UNKNOWN_TYPE']);
    expect(await inboxOf(world, waitingUser)).toHaveLength(1);

    world.clock.advance(120);
    await tick('purge the inbox');
    for (const user of [linkedUser, waitingUser]) {
      await until('the inbox is empty', async () => (await inboxOf(world, user)).length === 0);
    }
  });
});
