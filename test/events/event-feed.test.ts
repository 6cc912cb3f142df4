import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { type EventStream, openStream } from '../support/clients/event-stream.js';
import { send } from '../support/clients/http.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilProcessed } from '../support/features/inbox.js';
import { until } from '../support/waiting/until.js';
import { startOwnPostgres } from '../support/worlds/postgres.js';
import { startWorld, type World } from '../support/worlds/world.js';

const HEARTBEAT_MS = 200;

const streams: EventStream[] = [];
afterEach(() => {
  for (const stream of streams.splice(0)) stream.close();
});

/** An event stream of the owner's, after its first message. */
async function streamOf({ visitor }: Owner, origin: string): Promise<EventStream> {
  const stream = await openStream(origin, visitor.cookie);
  streams.push(stream);
  if (stream.status === 200) await stream.untilNews(0);
  return stream;
}

/** Delivers a button press of the owner's device to this instance, and waits until it is applied. */
async function ring(world: World, { ringUser, device }: Owner, origin = world.url): Promise<void> {
  const timestamp = world.clock.now().getTime();
  const event = newEvent({ accountId: ringUser.account_id, deviceId: device.id, timestamp });
  expect((await deliver(origin, JSON.stringify(event))).status).toBe(200);
  await untilProcessed(world, ringUser);
}

/** The process IDs of the connections on which instances listen for events. */
async function listeners(world: Pick<World, 'sql'>): Promise<number[]> {
  const found = await world.sql<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'ring-account-linking events'`,
  );
  return found.map(({ pid }) => pid);
}

async function quiet(world: World, ...owners: Owner[]): Promise<void> {
  for (const { ringUser } of owners) await untilProcessed(world, ringUser);
}

describe('the stream of events', () => {
  let world: World;
  /** Another instance on the same database. */
  let other: string;
  beforeAll(async () => {
    world = await startWorld({ eventStreams: { heartbeatMs: HEARTBEAT_MS } });
    other = `http://localhost:${(await world.startAnother()).port}`;
    await until('both listen', async () => (await listeners(world)).length === 2);
  });
  afterAll(() => world.stop());

  test('says that there is news when a webhook reaches any instance', async () => {
    const owner = await sharing(world);
    await quiet(world, owner);
    const [here, there] = [await streamOf(owner, world.url), await streamOf(owner, other)];

    for (const origin of [other, world.url]) {
      const before = [here.news(), there.news()] as const;
      await ring(world, owner, origin);
      await here.untilNews(before[0]);
      await there.untilNews(before[1]);
    }
  });

  test('is for programs, and not cached', async () => {
    const stream = await streamOf(await sharing(world), world.url);
    expect(stream.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(stream.headers['cache-control']).toBe('no-store, no-transform');
    expect(stream.headers['x-accel-buffering']).toBe('no');
  });

  test('tells its user alone that something has happened, and not what', async () => {
    const [owner, stranger] = await Promise.all([sharing(world, { name: 'Secret Door' }), sharing(world)]);
    await quiet(world, owner, stranger);
    const [mine, theirs] = [await streamOf(owner, world.url), await streamOf(stranger, world.url)];
    const [before, strange] = [mine.news(), theirs.news()];

    await ring(world, owner);
    await mine.untilNews(before);
    // A message to the stranger would have come before the answer to this webhook.
    await ring(world, stranger);
    await theirs.untilNews(strange);

    expect(theirs.news()).toBe(strange + 1);
    expect(mine.text()).toMatch(/^retry: \d{4}\ndata: news\n\n(data: news\n\n|:\n\n)*$/);
  });

  test('says nothing of a device whose link has to be made again', async () => {
    const [owner, witness] = await Promise.all([sharing(world), sharing(world)]);
    await quiet(world, owner, witness);
    const [stream, probe] = [await streamOf(owner, world.url), await streamOf(witness, world.url)];
    const [before, heard] = [stream.news(), probe.news()];
    await world.sql(`UPDATE account_links SET status = 'REAUTH_REQUIRED' WHERE account_id = $1`, [
      owner.ringUser.account_id,
    ]);

    await ring(world, owner);
    await ring(world, witness);
    await probe.untilNews(heard);

    expect(stream.news()).toBe(before);
  });

  test('keeps a silent connection alive', async () => {
    const owner = await sharing(world);
    await quiet(world, owner);
    const stream = await streamOf(owner, world.url);
    await until('two heartbeats have come', () => Promise.resolve(stream.heartbeats() > 1));
  });

  test('ends when its session does, and not with another one of the same user', async () => {
    const owner = await sharing(world);
    const elsewhere = world.visitor();
    await elsewhere.open('/ring/home');
    const [user] = await world.sql<Pick<Tables['users'], 'email'>>('SELECT email FROM users WHERE id = $1', [
      owner.userId,
    ]);
    await elsewhere.submit('/sign-in', { email: user?.email ?? '', password: 'correct horse battery staple' });
    const [leaving, staying] = [
      await streamOf(owner, other),
      await streamOf({ ...owner, visitor: elsewhere }, world.url),
    ];

    await owner.visitor.open('/ring/home');
    await owner.visitor.submit('/sign-out');

    await leaving.untilEnded();
    const before = staying.news();
    await ring(world, owner);
    await staying.untilNews(before);
    expect(staying.hasEnded()).toBe(false);
  });

  test('is for signed-in users: 401', async () => {
    const answer = await send(world.url, '/events/stream');
    expect(answer.status).toBe(401);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
  });

  test('has a head without a body', async () => {
    const owner = await sharing(world);
    for (let times = 0; times < 8; times += 1) {
      const answer = await send(world.url, '/events/stream', { method: 'HEAD', cookie: owner.visitor.cookie });
      expect([answer.status, answer.text]).toEqual([200, '']);
    }
  });

  test('is open six times for one user at most, and again when one is closed', async () => {
    const [owner, neighbour] = await Promise.all([sharing(world), sharing(world)]);
    for (let times = 0; times < 6; times += 1) expect((await streamOf(owner, world.url)).status).toBe(200);

    const seventh = await streamOf(owner, world.url);
    expect([seventh.status, seventh.headers['retry-after']]).toEqual([429, '30']);
    expect((await streamOf(neighbour, world.url)).status).toBe(200);

    streams[0]?.close();
    await until('there is room', async () => (await streamOf(owner, world.url)).status === 200);
  });

  test('takes one connection to Postgres for each instance, however many are open', async () => {
    const owners = await Promise.all([sharing(world), sharing(world), sharing(world)]);
    for (const owner of owners) for (let times = 0; times < 5; times += 1) await streamOf(owner, world.url);
    expect(await listeners(world)).toHaveLength(2);
  });

  test('goes on when Postgres ends the connection, and tells what was missed', async () => {
    const owner = await sharing(world);
    await quiet(world, owner);
    const stream = await streamOf(owner, world.url);
    const former = await listeners(world);
    const before = stream.news();

    await world.sql('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid', [former]);
    await until('both listen again', async () => {
      const now = await listeners(world);
      return now.length === 2 && now.every((pid) => !former.includes(pid));
    });
    await stream.untilNews(before);

    const after = stream.news();
    await ring(world, owner, other);
    await stream.untilNews(after);
    expect(stream.hasEnded()).toBe(false);
  });
});

test('streams outlive a restart of Postgres, during which they are silent', async () => {
  const postgres = await startOwnPostgres();
  const world = await startWorld({ databaseUrl: postgres.url, eventStreams: { heartbeatMs: HEARTBEAT_MS } });
  try {
    const owner = await sharing(world);
    await quiet(world, owner);
    const stream = await streamOf(owner, world.url);
    await postgres.stop();
    const before = stream.news();
    const beats = stream.heartbeats();
    await until('two heartbeats have come', () => Promise.resolve(stream.heartbeats() > beats + 1));
    expect(stream.news()).toBe(before);

    await postgres.restart();

    await stream.untilNews(before);
    const after = stream.news();
    await ring(world, owner);
    await stream.untilNews(after);
  } finally {
    await world.stop();
    await postgres.remove();
  }
});

test('a process holds so many streams and no more', async () => {
  const world = await startWorld({ eventStreams: { ofProcess: 3 } });
  try {
    const owners = await Promise.all([sharing(world), sharing(world)]);
    const [first, second] = owners;
    for (const owner of [first, second, first]) expect((await streamOf(owner, world.url)).status).toBe(200);

    const refused = await streamOf(second, world.url);

    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '30']);
    expect(world.log.join('')).toContain('no more streams of events are opened');
  } finally {
    await world.stop();
  }
});

test('a shutdown ends the streams at once', async () => {
  const world = await startWorld();
  const owner = await sharing(world);
  const open = await Promise.all(Array.from({ length: 5 }, () => streamOf(owner, world.url)));

  await world.stop();

  for (const stream of open) await stream.untilEnded();
  // Streams that don't end by themselves are cut off in the end.
  expect(open.map((stream) => stream.isWhole())).toEqual(open.map(() => true));
});
