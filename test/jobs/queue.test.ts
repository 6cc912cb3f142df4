import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import knex, { type Knex } from 'knex';
import { pino } from 'pino';
import { openDatabase } from '../../src/database/database.js';
import type { Tables } from '../../src/database/tables.js';
import { enqueue } from '../../src/jobs/enqueue.js';
import { startQueue } from '../../src/jobs/queue.js';
import { WAIT_LIMIT_MS } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import { createTestDatabase } from '../support/worlds/postgres.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const PASSWORD = 'correct horse battery staple';
/** A worker that gives no sign of life for so long counts as dead. */
const DEAD_AFTER_MS = 10_000;
const INTEGRATION_PATH = '/v1/accounts/me/app-integrations';

let world: World;
let db: Knex;
beforeAll(async () => {
  world = await startWorld({ patienceMs: 0, ringTimeoutMs: WAIT_LIMIT_MS });
  db = knex({ client: 'pg', connection: world.databaseUrl, pool: { min: 0, max: 2 } });
});
afterAll(async () => {
  await db.destroy();
  await world.stop();
});

describe('a job', () => {
  test('exists when the transaction that asked for it is committed', async () => {
    const key = randomUUID();
    await db.transaction((trx) => enqueue(trx, 'nobody_runs_this', { some: 'payload' }, { key }));
    expect(await jobsWith(key)).toHaveLength(1);
  });

  test('does not exist when that transaction is rolled back', async () => {
    const key = randomUUID();
    const rolledBack = db.transaction(async (trx) => {
      await enqueue(trx, 'nobody_runs_this', {}, { key });
      throw new Error('rolled back');
    });
    await expect(rolledBack).rejects.toThrow('rolled back');
    expect(await jobsWith(key)).toEqual([]);
  });

  test('is replaced by one with the same key while it waits', async () => {
    const key = randomUUID();
    await enqueue(db, 'nobody_runs_this', {}, { key });
    await enqueue(db, 'nobody_runs_this', {}, { key, delayMs: 60_000 });

    const [job, ...others] = await jobsWith(key);
    expect(others).toEqual([]);
    expect(job?.waits_s).toBeGreaterThan(30);
  });

  test('waits as long as it is told to', async () => {
    const key = randomUUID();
    await enqueue(db, 'nobody_runs_this', {}, { key, delayMs: 90_000 });

    const [job] = await jobsWith(key);
    expect(job?.waits_s).toBeGreaterThan(60);
    expect(job?.waits_s).toBeLessThanOrEqual(90);
  });
});

describe('the jobs of a worker that died', () => {
  test('are taken over', async () => {
    const ringUser = await world.ring.createUser();
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 500 }, times: 1 }]);
    await world.ring.install(ringUser);
    // Between the first attempt and the second, the job is locked by a worker that has been dead for a while.
    await until('the job is held', async () => {
      const held = await world.sql(
        `UPDATE graphile_worker._private_jobs SET locked_by = 'worker-that-died', locked_at = now() - interval '1 minute'
          WHERE locked_at IS NULL AND payload->>'attempt' = '2' RETURNING id`,
      );
      return held.length === 1;
    });

    await until('the pair is unclaimed', async () => (await statusOf(ringUser)) === 'UNCLAIMED');
  });
});

describe('jobs that have ended without a record, because the database is in trouble', () => {
  test('are done again, and keep no other job from being done', async () => {
    const own = await createTestDatabase();
    const log: string[] = [];
    const database = openDatabase(own.url, pino({ level: 'silent' }));
    const begun: string[] = [];
    const ends = new Map<string, () => void>();
    const work = async (payload: unknown) => {
      const { name } = payload as { name: string };
      const isFirst = !begun.includes(name);
      begun.push(name);
      if (!isFirst || name === 'later') return;
      await new Promise<void>((resolve) => ends.set(name, resolve));
      if (name === 'failing') throw new Error('failed');
    };
    const queue = startQueue(
      database,
      [{ concurrency: 4, tasks: { work } }],
      pino({ level: 'error' }, { write: (line) => log.push(line) }),
    );
    const failures = () => log.filter((line) => line.includes('Failed to complete jobs')).length;
    try {
      for (const name of ['one', 'other', 'failing']) await enqueue(database.knex, 'work', { name }, { key: name });
      await until('all have begun', () => Promise.resolve(ends.size === 3));
      await database.pool.query(`
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON graphile_worker._private_jobs EXECUTE FUNCTION refuse()`);
      for (const [index, name] of ['one', 'other'].entries()) {
        ends.get(name)?.();
        await until('its end is not written', () => Promise.resolve(failures() > index));
      }
      ends.get('failing')?.();
      expect(queue.isAlive()).toBe(false);
      await database.pool.query('DROP FUNCTION refuse CASCADE');
      await enqueue(database.knex, 'work', { name: 'later' }, { key: 'later' });

      await until('all are done', async () => {
        const { rowCount } = await database.pool.query('SELECT 1 FROM graphile_worker.jobs');
        return rowCount === 0;
      });
      expect([...begun].sort()).toEqual(['failing', 'failing', 'later', 'one', 'one', 'other', 'other']);
      expect(queue.isAlive()).toBe(true);
    } finally {
      await queue.stop();
      await database.close();
      await own.drop();
    }
  });
});

describe('a job that takes long because Ring is slow', () => {
  test('is left to its living worker, and not run a second time beside it', async () => {
    const ringUser = await arriveAtRing();
    await world.ring.setFaults([{ endpoint: 'integration-post', fault: { kind: 'hold' }, times: 1 }]);
    await link(ringUser);
    // By then a worker without a sign of life counts as dead, and its jobs are taken over.
    await delay(DEAD_AFTER_MS + 2_000);
    await world.ring.release();

    await until('the link is completed', async () => (await linkStatusOf(ringUser)) === 'COMPLETED');
    expect(await integrationCallsOf(ringUser)).toEqual(['POST 200', 'PATCH 200']);
  });
});

describe('two instances', () => {
  test('share the jobs, and none is done twice', async () => {
    await world.startAnother();
    // More jobs at once than one instance has workers.
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'hold' }, times: 8 }]);
    const ringUsers = await Promise.all(Array.from({ length: 8 }, () => world.ring.createUser()));
    await Promise.all(ringUsers.map((ringUser) => world.ring.install(ringUser)));

    await until('eight workers wait for Ring at the same time', async () => {
      const calls = await callsTo('/v1/users/me', ringUsers);
      return calls.filter(({ status }) => status === null).length === 8;
    });
    await world.ring.release();
    await until('every pair is unclaimed', async () => {
      const statuses = await Promise.all(ringUsers.map(statusOf));
      return statuses.every((status) => status === 'UNCLAIMED');
    });
    expect(await callsTo('/v1/users/me', ringUsers)).toHaveLength(8);
  });
});

async function jobsWith(key: string) {
  return world.sql<{ waits_s: number }>(
    'SELECT extract(epoch FROM run_at - now())::float8 AS waits_s FROM graphile_worker.jobs WHERE key = $1',
    [key],
  );
}

/** Installs the app, and waits until the account is known to us. */
async function arriveAtRing(): Promise<RingUser> {
  const ringUser = await world.ring.createUser();
  await world.ring.install(ringUser);
  await until('the pair is unclaimed', async () => (await statusOf(ringUser)) === 'UNCLAIMED');
  return ringUser;
}

async function link(ringUser: RingUser): Promise<void> {
  const visitor = world.visitor();
  await visitor.open((await world.ring.linkUrl(ringUser)).url);
  await visitor.submit('/sign-up', { email: `user-${randomUUID()}@example.com`, password: PASSWORD });
}

async function statusOf({ account_id }: RingUser): Promise<string | undefined> {
  const [token] = await world.sql<Pick<Tables['ring_tokens'], 'status'>>(
    'SELECT status FROM ring_tokens WHERE account_id = $1',
    [account_id],
  );
  return token?.status;
}

async function linkStatusOf({ account_id }: RingUser): Promise<string | undefined> {
  const [link] = await world.sql<Pick<Tables['account_links'], 'status'>>(
    'SELECT status FROM account_links WHERE account_id = $1',
    [account_id],
  );
  return link?.status;
}

async function callsTo(path: string, ringUsers: readonly RingUser[]) {
  const accounts = ringUsers.map(({ account_id }) => account_id);
  return (await world.ring.requests()).filter(
    (request) => request.path === path && accounts.includes(request.account_id ?? ''),
  );
}

async function integrationCallsOf(ringUser: RingUser): Promise<string[]> {
  return (await callsTo(INTEGRATION_PATH, [ringUser])).map(
    ({ method, status }) => `${method} ${status ?? 'unanswered'}`,
  );
}
