import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import { type Network, startNetwork } from '../support/worlds/network.js';
import { createTestDatabase, startOwnPostgres, type TestDatabase } from '../support/worlds/postgres.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
  await until('the world is ready', async () => (await ask('/readyz')).status === 200);
});
afterAll(() => world.stop());

async function ask(path: string, url = world.url) {
  const response = await fetch(url + path);
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test('/livez says that the process answers', async () => {
  const { status, headers, body } = await ask('/livez');
  expect(status).toBe(200);
  expect(headers.get('cache-control')).toBe('no-store');
  expect(headers.get('set-cookie')).toBeNull();
  expect(body).toEqual({ status: 'ok' });
});

test('/readyz says of each thing that is needed that it is there', async () => {
  const { status, headers, body } = await ask('/readyz');
  expect(status).toBe(200);
  expect(headers.get('cache-control')).toBe('no-store');
  expect(headers.get('set-cookie')).toBeNull();
  expect(body).toMatchObject({ status: 'ok', checks: { database: 'ok', migrations: 'ok', queue: 'ok' } });
});

describe('/readyz answers 503, and 200 again when it is over,', () => {
  test('while a migration has not run', async () => {
    const [newest] = await world.sql<{ id: number; name: string; batch: number; migration_time: Date }>(
      'DELETE FROM knex_migrations WHERE id = (SELECT max(id) FROM knex_migrations) RETURNING *',
    );
    expect(newest).toBeDefined();

    const pending = await ask('/readyz');
    await world.sql('INSERT INTO knex_migrations (id, name, batch, migration_time) VALUES ($1, $2, $3, $4)', [
      newest?.id,
      newest?.name,
      newest?.batch,
      newest?.migration_time,
    ]);

    expect(pending.status).toBe(503);
    expect(pending.body).toMatchObject({ checks: { database: 'ok', migrations: 'failed', queue: 'ok' } });
    expect((await ask('/readyz')).status).toBe(200);
  });

  test('while the job queue gives no sign of life', async () => {
    await world.sql('ALTER TABLE job_runners RENAME TO job_runners_gone');
    const dead = await until('the queue counts as dead', async () => {
      const answer = await ask('/readyz');
      return answer.status === 503 && answer;
    });
    await world.sql('ALTER TABLE job_runners_gone RENAME TO job_runners');

    expect(dead.body).toMatchObject({ checks: { database: 'ok', migrations: 'ok', queue: 'failed' } });
    expect((await ask('/livez')).status).toBe(200);
    await until('it is ready again', async () => (await ask('/readyz')).status === 200);
  });
});

describe('however many ask,', () => {
  /** For as long as in production. */
  const FRESH_MS = 1_000;
  /** The time after which a statement without an answer is given up. Only then is there another look. */
  const GIVEN_UP_MS = 11_000;
  /** The statements of one look each, with the zero byte at which a text ends on its way to Postgres. */
  const LOOKS = { '/readyz': 'SELECT true AS is_reachable\0', '/metrics': 'FROM scheduled_operations GROUP BY 1\0' };

  let database: TestDatabase;
  let network: Network;
  let crowded: World;
  beforeAll(async () => {
    database = await createTestDatabase();
    network = await startNetwork(database.url);
    crowded = await startWorld({ databaseUrl: network.databaseUrl, freshMs: FRESH_MS });
    await until('the world is ready', async () => (await ask('/readyz', crowded.url)).status === 200);
  });
  afterAll(async () => {
    network.thaw();
    await crowded.stop();
    await network.close();
    await database.drop();
  });

  /** Sends a thousand requests over a hundred connections, without waiting for an answer. @returns the statuses */
  async function askAtOnce(path: string): Promise<number[]> {
    const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n`;
    const answers = Array.from({ length: 100 }, async () => {
      const socket = connect(Number(new URL(crowded.url).port), 'localhost');
      socket.write(`${request}\r\n`.repeat(9) + `${request}Connection: close\r\n\r\n`);
      let text = '';
      for await (const chunk of socket) text += String(chunk);
      return [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status));
    });
    return (await Promise.all(answers)).flat();
  }

  test.each(['/readyz', '/metrics'] as const)(
    'a thousand requests for %s at once are answered 200 from one look at the database, or one a second',
    async (path) => {
      const before = network.countSent(LOOKS[path]);
      const startedAt = performance.now();
      const statuses = await askAtOnce(path);
      const passedMs = performance.now() - startedAt;

      expect(statuses).toEqual(Array(1_000).fill(200));
      const looks = network.countSent(LOOKS[path]) - before;
      expect(looks).toBeLessThanOrEqual(1 + Math.floor(passedMs / FRESH_MS));
    },
  );

  test('what is found counts for a second at most', async () => {
    const before = network.countSent(LOOKS['/readyz']);
    await until('there is another look', async () => {
      expect((await ask('/readyz', crowded.url)).status).toBe(200);
      return network.countSent(LOOKS['/readyz']) > before;
    });
  });

  test('a shutdown shows at once', async () => {
    const leaving = await startWorld({ freshMs: FRESH_MS, environment: { DRAIN_SECONDS: '2' } });
    await until('it is ready', async () => (await ask('/readyz', leaving.url)).status === 200);

    const stopped = leaving.stop();
    const { status, body } = await ask('/readyz', leaving.url);
    await stopped;

    expect(status).toBe(503);
    expect(body).toMatchObject({ checks: { database: 'ok', accepting: 'failed' } });
  });

  test('a look that gets no answer is not joined by another, and all are told 503 in time', async () => {
    network.freeze();
    const before = network.countSent(LOOKS['/readyz']);
    const startedAt = performance.now();
    const answers: number[] = [];
    for (let time = 0; time < 2; time += 1) answers.push(...(await askAtOnce('/readyz')));
    const passedMs = performance.now() - startedAt;
    const looks = network.countSent(LOOKS['/readyz']) - before;
    network.thaw();

    // What was found before the network was gone may count for a part of a second.
    expect(new Set(answers.slice(-1_000))).toEqual(new Set([503]));
    expect(looks).toBeLessThanOrEqual(1 + Math.floor(passedMs / GIVEN_UP_MS));
    await until('it is ready again', async () => (await ask('/readyz', crowded.url)).status === 200);
  });
});

test('/readyz tells within a second or two that Postgres has died', async () => {
  const postgres = await startOwnPostgres();
  const alone = await startWorld({ databaseUrl: postgres.url, freshMs: 1_000 });
  try {
    await until('it is ready', async () => (await ask('/readyz', alone.url)).status === 200);
    await postgres.kill9();
    await until('it is not ready', async () => (await ask('/readyz', alone.url)).status === 503, scaled(2_000));
  } finally {
    await alone.stop();
    await postgres.remove();
  }
});
