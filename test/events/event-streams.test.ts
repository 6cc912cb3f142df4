import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { Tables } from '../../src/database/tables.js';
import { type EventStream, openStream } from '../support/clients/event-stream.js';
import { send } from '../support/clients/http.js';
import type { Visitor } from '../support/clients/visitor.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilProcessed } from '../support/features/inbox.js';
import { PASSWORD, signedIn } from '../support/features/linking.js';
import { deleteAccount, signIn, submitAccountForm } from '../support/features/my-data.js';
import { holdLock, untilLocksAwaited } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** The number of streams that a user may have open at one process. */
const STREAMS_OF_USER = 6;

let world: World;
beforeAll(async () => {
  world = await startWorld({ eventStreams: { heartbeatMs: 200 } });
});
afterAll(() => world.stop());

const streams: EventStream[] = [];
afterEach(() => {
  for (const stream of streams.splice(0)) stream.close();
});

async function streamOf(visitor: Visitor): Promise<EventStream> {
  const stream = await openStream(world.url, visitor.cookie);
  streams.push(stream);
  if (stream.status === 200) await stream.untilNews(0);
  return stream;
}

/** An owner for whom all webhooks so far are applied. */
async function quietOwner(): Promise<Owner & { email: string }> {
  const owner = await sharing(world);
  await untilProcessed(world, owner.ringUser);
  const [user] = await world.sql<Pick<Tables['users'], 'email'>>('SELECT email FROM users WHERE id = $1', [
    owner.userId,
  ]);
  return { ...owner, email: user?.email ?? '' };
}

/** Ring sends this event of the owner's device, and it is applied. */
async function tell({ ringUser, device }: Owner, type: string): Promise<void> {
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: ringUser.id, type, device_id: device.id });
  await untilProcessed(world, ringUser);
}

const listener = () =>
  world.sql<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'ring-account-linking events'`,
  );

describe('a stream ends, and tells nothing more,', () => {
  test.each<[string, (owner: Owner & { email: string }, elsewhere: Visitor) => Promise<void>]>([
    [
      'when the password is changed elsewhere',
      (_owner, elsewhere) => submitAccountForm(elsewhere, 'password', { new: `${PASSWORD}!` }),
    ],
    [
      'when the e-mail is changed elsewhere',
      (owner, elsewhere) => submitAccountForm(elsewhere, 'email', { new: `new.${owner.email}` }),
    ],
    ['when the account is deleted elsewhere', (_owner, elsewhere) => deleteAccount(elsewhere)],
    ['when the account is deleted here', ({ visitor }) => deleteAccount(visitor)],
    [
      'when the session expires',
      async (owner) => {
        await world.sql(`UPDATE sessions SET expire = now() - interval '1 second' WHERE sess::text LIKE $1`, [
          `%${owner.userId}%`,
        ]);
      },
    ],
  ])('%s', async (_when, endSession) => {
    const owner = await quietOwner();
    const { cookie } = owner.visitor;
    const elsewhere = await signIn(world, owner.email);
    const stream = await streamOf(owner.visitor);

    await endSession(owner, elsewhere);

    await stream.untilEnded();
    const told = stream.text();
    const { attempts } = await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'button_press' });
    expect(attempts).toEqual([{ status: 200 }]);
    expect(stream.text()).toBe(told);
    // A browser connects again by itself.
    const again = await openStream(world.url, cookie);
    streams.push(again);
    expect(again.status).toBe(401);
  });
});

test('a page whose own user changes the password gets a stream again under its new session', async () => {
  const owner = await quietOwner();
  const before = await streamOf(owner.visitor);
  await submitAccountForm(owner.visitor, 'password', { new: `${PASSWORD}!` });
  await before.untilEnded();

  const after = await streamOf(owner.visitor);
  const told = after.news();
  await tell(owner, 'button_press');
  await after.untilNews(told);
});

describe('an open page hears that its list has changed', () => {
  test.each(['device_removed', 'app_integration_removed'])('by %s', async (type) => {
    const owner = await quietOwner();
    await tell(owner, 'button_press');
    const stream = await streamOf(owner.visitor);
    const told = stream.news();

    await tell(owner, type);
    const page = await send(world.url, '/events', { cookie: owner.visitor.cookie });
    expect(page.text).not.toContain('class="event"');

    await until(`the stream tells of ${type}`, () => Promise.resolve(stream.news() > told));
  });
});

describe('no header and no query', () => {
  test.each([
    ['Last-Event-ID of another user', 'x'],
    ['endless Last-Event-ID', 'x'.repeat(8_000)],
    ['Last-Event-ID of markup', '<script>alert(1)</script>'],
    ['Last-Event-ID of SQL', `' OR 1=1 --`],
  ])('changes what a stream tells: %s', async (_what, id) => {
    const [owner, stranger] = [await quietOwner(), await quietOwner()];
    await tell(owner, 'button_press');
    const aborter = new AbortController();
    const query = new URLSearchParams({ device: owner.device.id, lastEventId: id, user: owner.userId }).toString();
    const response = await fetch(`${world.url}/events/stream?${query.slice(0, 2_000)}`, {
      signal: aborter.signal,
      headers: { cookie: stranger.visitor.cookie, 'last-event-id': id },
    });
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([200, null]);
    let text = '';
    const reading = (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk as Uint8Array).toString();
    })().catch(() => undefined);
    await until('it beats', () => Promise.resolve(text.includes('\n:\n\n')));
    await tell(owner, 'button_press');
    // A message to the stranger would have come before this.
    await tell(stranger, 'button_press');
    await until('the own news is told', () => Promise.resolve(text.split('data: news').length > 2));
    aborter.abort();
    await reading;
    expect(text).toMatch(/^retry: \d{4}\ndata: news\n\n(:\n\n)*data: news\n\n(:\n\n)*$/);
  });
});

test('a storm of pages that come and go leaves as much room as before, and shuts out no other user', async () => {
  const [owner, neighbour] = [await quietOwner(), await quietOwner()];
  const calm = await streamOf(neighbour.visitor);
  const statuses = new Set<number>();
  for (let round = 0; round < 25; round += 1) {
    const opened = await Promise.all(Array.from({ length: 12 }, () => openStream(world.url, owner.visitor.cookie)));
    for (const stream of opened) {
      statuses.add(stream.status);
      stream.close();
    }
  }
  expect([...statuses].filter((status) => status !== 200 && status !== 429)).toEqual([]);
  expect(calm.hasEnded()).toBe(false);

  await until('there is room for six again', async () => {
    const six = await Promise.all(
      Array.from({ length: STREAMS_OF_USER }, () => openStream(world.url, owner.visitor.cookie)),
    );
    const opened = six.every(({ status }) => status === 200);
    for (const stream of six) stream.close();
    return opened;
  });
  const told = calm.news();
  await tell(neighbour, 'button_press');
  await calm.untilNews(told);
});

test('nothing is lost while Postgres ends the connection again and again', async () => {
  const owner = await quietOwner();
  const stream = await streamOf(owner.visitor);
  for (let round = 0; round < 3; round += 1) {
    await until('the instance listens', async () => (await listener()).length > 0);
    const told = stream.news();
    const [, ...requests] = await Promise.all([
      world.sql('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid', [
        (await listener()).map(({ pid }) => pid),
      ]),
      ...Array.from({ length: 5 }, () => world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'button_press' })),
    ]);
    expect(requests).toHaveLength(5);
    await untilProcessed(world, owner.ringUser);
    await until('the instance listens again', async () => (await listener()).length > 0);
    await until('the page is told', () => Promise.resolve(stream.news() > told));
  }
  expect(stream.hasEnded()).toBe(false);
});

test('a client that never reads costs no memory, and others hear their news', async () => {
  const [deaf, owner] = [await quietOwner(), await quietOwner()];
  const stream = await streamOf(owner.visitor);
  const { hostname, port } = new URL(world.url);
  const socket = connect({ host: hostname, port: Number(port) }).pause();
  await once(socket, 'connect');
  socket.write(`GET /events/stream HTTP/1.1\r\nHost: ${hostname}\r\nCookie: ${deaf.visitor.cookie}\r\n\r\n`);
  const before = process.memoryUsage().rss;
  // One after another, because news of one transaction is sent once.
  await world.sql(
    `DO $do$ BEGIN FOR i IN 1..150000 LOOP PERFORM pg_notify('device_events', '${deaf.userId}'); COMMIT; END LOOP; END $do$`,
  );
  const told = stream.news();
  await tell(owner, 'button_press');
  await stream.untilNews(told);

  expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
  socket.destroy();
});

/** The number of requests for a stream whose page was gone before their session was found. */
const givenUp = () => world.log.filter((line) => line.includes('"path":"/events') && line.includes('given up')).length;

test('a page that is gone before its stream is open takes no place', async () => {
  const { visitor } = await sharing(world);
  const before = givenUp();
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
    await until('the app knows that they are gone', () => Promise.resolve(givenUp() === before + STREAMS_OF_USER));
  } finally {
    await release();
  }
  // Everything that waited for the session is served before a later request.
  await visitor.open('/ring/home');

  const stream = await openStream(world.url, visitor.cookie);

  stream.close();
  expect(stream.status).toBe(200);
});

test('much news at once ends no stream of a client that reads', async () => {
  const { visitor, userId } = await sharing(world);
  const stream = await openStream(world.url, visitor.cookie);
  await stream.untilNews(0);
  const before = stream.news();
  const client = new pg.Client({ connectionString: world.databaseUrl });
  await client.connect();

  // Each row is announced by a transaction of its own, while this process, and the app in it, has no time to listen.
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

test('an address has so many streams of all its users together, and leaves places for others', async () => {
  const crowded = await startWorld({
    environment: { TRUST_PROXY: '1' },
    eventStreams: { ofNetwork: 2, ofProcess: 3 },
  });
  try {
    const visitors = await Promise.all([signedIn(crowded), signedIn(crowded), signedIn(crowded)]);
    const opened: EventStream[] = [];
    const addresses = ['203.0.113.8:1', '203.0.113.8:2', '::ffff:203.0.113.8', '203.0.113.9'];
    for (const [at, address] of addresses.entries()) {
      const { cookie } = visitors[at % visitors.length] ?? crowded.visitor();
      opened.push(await openStream(crowded.url, cookie, { 'x-forwarded-for': address }));
    }
    expect(opened.map(({ status }) => status)).toEqual([200, 200, 503, 200]);
    expect(opened[2]?.headers['retry-after']).toBe('30');
    for (const stream of opened) stream.close();
  } finally {
    await crowded.stop();
  }
});

test('a stream ends after a while, and its browser opens another one', async () => {
  const brief = await startWorld({ eventStreams: { heartbeatMs: 50, lifetimeMs: 1 } });
  try {
    const { cookie } = await signedIn(brief);
    const stream = await openStream(brief.url, cookie);
    await stream.untilEnded();
    expect(stream.isWhole()).toBe(true);
    expect(stream.text()).toMatch(/^retry: \d{4}\n/);

    const next = await openStream(brief.url, cookie);
    expect(next.status).toBe(200);
    next.close();
  } finally {
    await brief.stop();
  }
});
