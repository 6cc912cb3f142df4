import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Visitor } from '../support/clients/visitor.js';
import { arriving, cards, installed, newEmail, PASSWORD, untilLink } from '../support/features/linking.js';
import { isSignedIn } from '../support/features/my-data.js';
import { createTestDatabase, query, type TestDatabase } from '../support/worlds/postgres.js';
import { type AppProcess, createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import type { RingUser } from '../support/worlds/ring.js';

const HOUR_MINUTES = 60;
const WEEK_MINUTES = 7 * 24 * 60;
/** The time that something may take on a busy machine. Time zones are further apart. */
const MARGIN_MINUTES = 5;

const hoursFromNow = (time = ''): number => (Date.parse(time) - Date.now()) / 3_600_000;

async function inDatabase<Result>(body: (database: TestDatabase) => Promise<Result>): Promise<Result> {
  const database = await createTestDatabase();
  try {
    return await body(database);
  } finally {
    await database.drop();
  }
}

test('this suite runs in a zone that is not UTC, and its Postgres in another one', async () => {
  expect(new Date('2026-01-31T00:00:00Z').getHours()).toBe(9);
  const [zone] = await inDatabase(({ url }) => query(url, 'SHOW TimeZone'));
  expect(zone).toEqual({ TimeZone: 'America/Los_Angeles' });
});

test('every column that holds an instant is a timestamptz, also those of the job engine', async () => {
  const columns = await inDatabase(({ url }) =>
    query(
      url,
      `SELECT format('%s.%s.%s: %s', table_schema, table_name, column_name, data_type) AS name
         FROM information_schema.columns
        WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
          AND (data_type ~ '^(date|time)' AND data_type <> 'timestamp with time zone')`,
    ),
  );
  // A wall-clock time. The next column names its time zone.
  expect(columns).toEqual([{ name: 'public.scheduled_operations.time_of_day: time without time zone' }]);
});

describe.each([
  { app: 'Asia/Tokyo', database: 'America/Los_Angeles', dateStyle: 'ISO' },
  { app: 'America/Los_Angeles', database: 'Asia/Tokyo', dateStyle: 'German' },
  { app: 'America/New_York', database: 'UTC', dateStyle: 'SQL, DMY' },
])('with the app in $app and the database in $database, which writes $dateStyle', (zones) => {
  let database: TestDatabase;
  let world: ProcessWorld;
  let app: AppProcess;
  let visitor: Visitor;
  let ringUser: RingUser;

  beforeAll(async () => {
    database = await createTestDatabase();
    const name = new URL(database.url).pathname.slice(1);
    await query(database.url, `ALTER DATABASE ${name} SET TimeZone = '${zones.database}'`);
    await query(database.url, `ALTER DATABASE ${name} SET DateStyle = '${zones.dateStyle}'`);
    world = await createProcessWorld({ databaseUrl: database.url });
    app = await world.startApp({ TZ: zones.app });
    ringUser = await installed(world);
    visitor = await arriving(world, ringUser);
  });

  afterAll(async () => {
    await world.stop();
    await database.drop();
  });

  /** Brings the end of every session nearer, as if no request had come for so many minutes. */
  const age = (minutes: number) =>
    world.sql(`UPDATE sessions SET expire = expire - $1 * interval '1 minute'`, [minutes]);

  test('a user who comes from Ring can sign up, is linked, and finds the link at home', async () => {
    await age(HOUR_MINUTES - MARGIN_MINUTES);
    await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });

    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe('Your Ring account is linked');
    await untilLink(world, ringUser, 'COMPLETED');
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Linked']);
    const [, since] = /Since <time datetime="([^"]+)"/.exec(visitor.page.text) ?? [];
    expect(hoursFromNow(since)).toBeCloseTo(0, 0);
  });

  test('a session outlives the app, and lasts for the whole week that it was promised', async () => {
    app.kill('SIGTERM');
    await app.ended;
    app = await world.startApp({ TZ: zones.app });
    expect(await isSignedIn(visitor)).toBe(true);

    await age(WEEK_MINUTES - MARGIN_MINUTES);
    expect(await isSignedIn(visitor)).toBe(true);
  });

  test('the download has the right times, all in UTC', async () => {
    const { text } = await visitor.open('/account/data');

    const { links, sessions } = JSON.parse(text) as Record<'links' | 'sessions', Record<string, string>[]>;
    expect(hoursFromNow(links[0]?.completed_at)).toBeCloseTo(0, 0);
    expect(hoursFromNow(sessions[0]?.expires_at)).toBeCloseTo(WEEK_MINUTES / 60, 0);
    expect(text.match(/\dT\d\d:\d\d:[\d.]+(?!\+00:00|Z|[\d.])[^"]*/g)).toBeNull();
  });

  test('a session ends with its week', async () => {
    await age(WEEK_MINUTES + MARGIN_MINUTES);
    expect(await isSignedIn(visitor)).toBe(false);
  });

  test('the session of a visitor who has not signed in ends after an hour', async () => {
    const late = await arriving(world, ringUser);
    await age(HOUR_MINUTES + MARGIN_MINUTES);
    await late.submit('/sign-up', { email: newEmail(), password: PASSWORD });

    expect(late.page.status).toBe(403);
  });
});
