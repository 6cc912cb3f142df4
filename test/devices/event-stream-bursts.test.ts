import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { sharing } from '../support/devices.js';
import { openStream } from '../support/event-stream.js';
import { holdLock, untilLocksAwaited } from '../support/locks.js';
import { until } from '../support/until.js';
import { startWorld, type World } from '../support/world.js';

/** How many a user may have open at one process. */
const STREAMS_OF_USER = 6;

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

/** Requests for a stream whose page was gone before they had found their session. */
const givenUp = () => world.log.filter((line) => line.includes('"path":"/events') && line.includes('given up')).length;

test('a page that is gone before its stream is open takes nobody’s place', async () => {
  const { visitor } = await sharing(world);
  const release = await holdLock(world, 'LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE');
  const pages = Array.from({ length: STREAMS_OF_USER }, () => {
    const page = request(`${world.url}/events/stream`, { agent: false, headers: { cookie: visitor.cookie } });
    page.on('error', () => undefined);
    page.end();
    return page;
  });
  try {
    await untilLocksAwaited(world, STREAMS_OF_USER);
    for (const page of pages) page.destroy();
    await until('the app knows that they are gone', () => Promise.resolve(givenUp() === STREAMS_OF_USER));
  } finally {
    await release();
  }
  // Whatever was waiting for the session has been served by the time that a later request is.
  await visitor.open('/ring/home');

  const stream = await openStream(world.url, visitor.cookie);

  stream.close();
  expect(stream.status).toBe(200);
});

test('much news at once ends no stream of somebody who reads', async () => {
  const { visitor, userId } = await sharing(world);
  const stream = await openStream(world.url, visitor.cookie);
  await stream.untilNews(0);
  const before = stream.news();
  const client = new pg.Client({ connectionString: world.databaseUrl });
  await client.connect();

  // Each told by a transaction of its own, while this process, and with it the app, has no time to listen.
  const telling = client.query(
    `DO $$ BEGIN FOR n IN 1..500 LOOP PERFORM pg_notify('device_events', '${userId}'); COMMIT; END LOOP; END $$`,
  );
  await delay(0);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  await telling;
  await client.end();

  await until('the news has come', () => Promise.resolve(stream.news() > before || stream.hasEnded()));
  await visitor.open('/ring/home');
  expect(stream.hasEnded()).toBe(false);
  stream.close();
});
