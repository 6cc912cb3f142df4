import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Tables } from '../../src/database/tables.js';
import { send } from '../support/clients/http.js';
import { Visitor, hiddenFields } from '../support/clients/visitor.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { type Owner, recordNow, sharing } from '../support/features/devices.js';
import { PASSWORD, arriving, installed, newEmail, signedIn, untilLink } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { HOUR, refreshesOf, tokenOf } from '../support/features/tokens.js';
import { scrape } from '../support/inspection/metrics.js';
import { until } from '../support/waiting/until.js';
import { type TestDatabase, createTestDatabase, query } from '../support/worlds/postgres.js';
import {
  type AppProcess,
  type ProcessWorld,
  createProcessWorld,
  freePorts,
  statusOf,
} from '../support/worlds/process.js';

/** Every throttle has the value of production. */
const USUAL_LIMITS = { RATE_LIMIT_SCALE: '1' };
const GUESSES = 10;
const TASKS = ['start due snapshots', 'refresh tokens'];

let database: TestDatabase;
let world: ProcessWorld;
let first: AppProcess;
let second: AppProcess;
/** The addresses of the two instances. */
let here: string;
let there: string;
/** Made before the tests, and left to the periodic tasks of both. */
let scheduled: Owner;
let overdue: Owner;
/** The number of runs of each periodic task by then, on each of the two. */
const ticksBefore = new Map<string, number[]>();

beforeAll(async () => {
  database = await createTestDatabase();
  await query(database.url, 'DROP SCHEMA graphile_worker CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  world = await createProcessWorld({ databaseUrl: database.url });
  const PORT = `${await freePorts()}`;
  here = world.url;
  there = `http://localhost:${PORT}`;
  [first, second] = await Promise.all([world.startApp(USUAL_LIMITS), world.startApp({ ...USUAL_LIMITS, PORT })]);
  scheduled = await schedule();
  overdue = await agePair();
  for (const task of TASKS) ticksBefore.set(task, await ticksOf(task));
});
afterAll(async () => {
  await world.stop();
  await database.drop();
});

/** A user with a picture that was due a minute ago, and is due again in an hour. */
async function schedule(): Promise<Owner> {
  const owner = await sharing(world);
  await recordNow(world, owner);
  await owner.visitor.open(owner.path);
  await owner.visitor.submit(`${owner.path}/scheduled-operations`, { frequency: 'HOURLY' });
  await world.sql(
    `UPDATE scheduled_operations SET created_at = now() - interval '61 minutes', next_run_at = now() - interval '1 minute'
      WHERE account_id = $1`,
    [owner.ringUser.account_id],
  );
  return owner;
}

/** A user whose tokens were last replaced more than a day ago. */
async function agePair(): Promise<Owner> {
  const owner = await sharing(world);
  await world.sql(`UPDATE ring_tokens SET created_at = now() - interval '25 hours' WHERE account_id = $1`, [
    owner.ringUser.account_id,
  ]);
  return owner;
}

function ticksOf(task: string): Promise<number[]> {
  const series = `ring_link_clock_ticks_total{clock="${task}",outcome="done"}`;
  return Promise.all([here, there].map(async (url) => (await scrape(url)).count(series)));
}

test('two that start at once on an empty database both become ready, and each migration has run once', async () => {
  for (const url of [here, there]) expect(await statusOf(`${url}/readyz`)).toBe(200);
  for (const app of [first, second]) expect(app.stdout() + app.stderr()).not.toMatch(/"level":[56]0/);
  const [run] = await world.sql('SELECT count(*) = count(DISTINCT name) AS once FROM knex_migrations');
  expect(run).toEqual({ once: true });
});

describe('a session', () => {
  test('that was begun on one is known on the other, and ends on both with the sign-out on either', async () => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    const { cookie } = visitor;
    const elsewhere = await send(there, '/ring/home', { cookie });
    expect(elsewhere.text).toContain(email);

    const out = await send(there, '/sign-out', { cookie, form: hiddenFields(elsewhere.text, '/sign-out') });

    expect(out.status).toBe(303);
    for (const url of [there, here]) {
      const page = await send(url, '/ring/home', { cookie });
      expect(page.status).toBe(200);
      expect(page.text).not.toContain(email);
      expect(page.text).toContain('action="/sign-in"');
    }
  });

  test('carries a link from the one that Ring and its redirect came to, to the one that gets the form', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);
    const form = { ...hiddenFields(visitor.page.text, '/sign-up'), email: newEmail(), password: PASSWORD };

    const answer = await send(there, '/sign-up', { cookie: visitor.cookie, form });

    expect([answer.status, answer.location]).toEqual([303, '/ring/link']);
    await untilLink(world, ringUser, 'COMPLETED');
  });
});

test('wrong passwords are counted together: half here and half there are as many as all in one place', async () => {
  const email = newEmail();
  await signedIn(world, email);
  const [near, far] = [new Visitor(here), new Visitor(there)];
  const guesses: Promise<number>[] = [];
  for (const visitor of [near, far]) {
    await visitor.open('/ring/home');
    const form = { ...hiddenFields(visitor.page.text, '/sign-in'), email, password: 'not the password at all' };
    for (let count = 0; count < GUESSES; count++) {
      guesses.push(send(visitor.appUrl, '/sign-in', { cookie: visitor.cookie, form }).then((answer) => answer.status));
    }
  }

  const statuses = await Promise.all(guesses);

  expect(statuses.filter((status) => status === 401)).toHaveLength(GUESSES);
  expect(statuses.filter((status) => status === 429)).toHaveLength(GUESSES);
  for (const visitor of [near, far]) {
    await visitor.submit('/sign-in', { email, password: PASSWORD });
    expect(visitor.page.status).toBe(429);
  }
});

test('calls for one account from both at the moment when its token has run out cause one refresh', async () => {
  const owner = await sharing(world);
  await world.sql('UPDATE ring_tokens SET access_token_expires_at = now() WHERE account_id = $1', [
    owner.ringUser.account_id,
  ]);

  const views = await Promise.all([here, there, here, there, here, there].map((url) => openLiveView(url, owner)));

  expect(views.map(({ status }) => status)).toEqual(Array(views.length).fill(201));
  expect(await refreshesOf(world, owner.ringUser)).toHaveLength(1);
  expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 1, refresh_state: 'FINE' });
});

test('a webhook whose receiver is killed as it answers is applied by the others', async () => {
  const PORT = `${await freePorts()}`;
  const third = await world.startApp({ ...USUAL_LIMITS, PORT });
  const owner = await sharing(world);
  const events = Array.from({ length: 5 }, () =>
    newEvent({ accountId: owner.ringUser.account_id, deviceId: owner.device.id }),
  );
  const key = world.environment.RING_HMAC_KEY ?? '';
  const answers = events.map((event) => deliver(`http://localhost:${PORT}`, JSON.stringify(event), { key }));
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(events.length).fill(200));
  third.kill('SIGKILL');
  await third.ended;

  // What the killed instance had not applied yet is found by a sweep.
  const applied = await until('all are applied', async () => {
    const rows = await world.sql<Pick<Tables['device_events'], 'request_id'>>(
      'SELECT request_id FROM device_events WHERE account_id = $1',
      [owner.ringUser.account_id],
    );
    return rows.length >= events.length && rows;
  });
  expect(applied.map((row) => row.request_id).sort()).toEqual(events.map(({ meta }) => meta.request_id).sort());
});

describe('the work of a periodic task that runs on both', () => {
  test('is done once: one picture is asked of Ring, and one refresh', async () => {
    for (const task of TASKS) {
      const before = ticksBefore.get(task) ?? [];
      await until(`both have ticked since: ${task}`, async () =>
        (await ticksOf(task)).every((count, index) => count > (before[index] ?? 0)),
      );
    }
    const picturesOf = () =>
      world.sql('SELECT 1 FROM snapshots WHERE account_id = $1', [scheduled.ringUser.account_id]);
    await until('the picture is there', async () => (await picturesOf()).length > 0);
    await until('the pair is replaced', async () => (await tokenOf(world, overdue.ringUser)).generation > 0);

    const asked = (await world.ring.requests()).filter(
      ({ account_id, path }) => account_id === scheduled.ringUser.account_id && path.endsWith('/media/image/download'),
    );
    expect(asked).toHaveLength(1);
    expect(await picturesOf()).toHaveLength(1);
    const [schedule] = await world.sql<Pick<Tables['scheduled_operations'], 'next_run_at'>>(
      'SELECT next_run_at FROM scheduled_operations WHERE account_id = $1',
      [scheduled.ringUser.account_id],
    );
    const untilNext = (schedule?.next_run_at?.getTime() ?? 0) - Date.now();
    expect(untilNext).toBeGreaterThan(0);
    expect(untilNext).toBeLessThan(HOUR * 1_000);
    expect(await refreshesOf(world, overdue.ringUser)).toHaveLength(1);
    expect(await tokenOf(world, overdue.ringUser)).toMatchObject({ generation: 1, refresh_state: 'FINE' });
  });
});
