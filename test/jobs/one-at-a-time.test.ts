import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { type Database, openDatabase } from '../../src/database/database.js';
import { enqueue } from '../../src/jobs/enqueue.js';
import { oneAtATime } from '../../src/jobs/one-at-a-time.js';
import { type JobQueue, startQueue } from '../../src/jobs/queue.js';
import { until } from '../support/waiting/until.js';
import { createTestDatabase, type TestDatabase } from '../support/worlds/postgres.js';

const TASK = 'do_alone';

interface Job {
  key: string;
  /** Distinguishes the jobs of one key. */
  name: string;
}

/** A job that has begun on one of the instances. It ends when the test says so. */
interface Run extends Job {
  /** The number of other jobs of its key that were running when it began. */
  companions: number;
  instance: Database;
  isRunning: boolean;
  finish: () => void;
  fail: (error: Error) => void;
}

let testDatabase: TestDatabase;
let instances: { database: Database; queue: JobQueue }[];
let anyone: Database;
let runs: Run[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  anyone = openDatabase(testDatabase.url, pino({ level: 'silent' }));
  instances = [startInstance(), startInstance()];
});
afterEach(async () => {
  await until('no job is left', async () => {
    for (const run of runs) run.finish();
    return (await waitingJobs('%')).length === 0 && runs.every(({ isRunning }) => !isRunning);
  });
  runs = [];
});
afterAll(async () => {
  for (const { queue, database } of instances) {
    await queue.stop();
    await database.close();
  }
  await anyone.close();
  await testDatabase.drop();
});

/** Each instance has one worker, so that two jobs at once are on two instances. */
function startInstance(): { database: Database; queue: JobQueue } {
  const log = pino({ level: 'silent' });
  const database = openDatabase(testDatabase.url, log);
  const run = async (payload: unknown) => {
    const job = payload as Job;
    const companions = runs.filter(({ key, isRunning }) => key === job.key && isRunning).length;
    const begun: Run = {
      ...job,
      companions,
      instance: database,
      isRunning: true,
      finish: () => undefined,
      fail: () => undefined,
    };
    await new Promise<void>((resolve, reject) => {
      begun.finish = resolve;
      begun.fail = reject;
      runs.push(begun);
    }).finally(() => {
      begun.isRunning = false;
    });
  };
  const task = oneAtATime(database, TASK, (payload) => (payload as Job).key, run);
  return { database, queue: startQueue(database, [{ concurrency: 1, tasks: { [TASK]: task } }], log) };
}

/** @param jobKey a job replaces one with the same job key that waits in the queue */
async function add(key: string, jobKey = key): Promise<string> {
  const name = randomUUID();
  await enqueue(anyone.knex, TASK, { key, name }, { key: jobKey });
  return name;
}

const untilBegun = (name: string): Promise<Run> =>
  until('the job has begun', () => Promise.resolve(runs.find((run) => run.name === name)));

const begin = async (key: string): Promise<Run> => untilBegun(await add(key));

/** The waiting jobs of a key, or of all keys that begin with it, that no worker has locked. */
async function waitingJobs(key: string): Promise<unknown[]> {
  const { rows } = await anyone.pool.query<Record<string, unknown>>(
    `SELECT 1 FROM graphile_worker.jobs WHERE key LIKE $1 || '%' AND locked_at IS NULL`,
    [key],
  );
  return rows;
}

/** Waits until a worker has taken the job, found its key in use, and put it off. */
async function untilPutOff(key: string): Promise<void> {
  await until('the job is put off', async () => {
    const { rows } = await anyone.pool.query(
      `SELECT 1 FROM graphile_worker.jobs
        WHERE key LIKE $1 || '%' AND locked_at IS NULL AND run_at > created_at + interval '100 ms'`,
      [key],
    );
    return rows.length > 0;
  });
}

/** Ends the connection that holds the key, as Postgres does when the process has died. */
async function endHolderOf(key: string): Promise<void> {
  const { rows } = await anyone.pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks
      WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) = hashtextextended($1, 1)`,
    [key],
  );
  expect(rows).toHaveLength(1);
}

describe('of two jobs with the same key on two instances', () => {
  test('the second begins when the first has ended', async () => {
    const key = randomUUID();
    const first = await begin(key);
    const second = await add(key);
    await untilPutOff(key);
    expect(runs).toEqual([first]);

    first.finish();

    expect(await untilBegun(second)).toMatchObject({ companions: 0 });
  });

  test('the second is not replaced by a third, nor the third by the second', async () => {
    const key = randomUUID();
    const first = await begin(key);
    const second = await add(key);
    await untilPutOff(key);
    const third = await add(key);

    first.finish();
    const next = await until('another begins', () => Promise.resolve(runs[1]));
    next.finish();
    const last = await until('yet another begins', () => Promise.resolve(runs[2]));

    expect([next.name, last.name].sort()).toEqual([second, third].sort());
    expect([next.companions, last.companions]).toEqual([0, 0]);
  });

  test('the second begins when the first has failed', async () => {
    const key = randomUUID();
    const first = await begin(key);
    const second = await add(key);
    await untilPutOff(key);

    first.fail(new Error('failed on purpose'));

    expect(await untilBegun(second)).toMatchObject({ companions: 0 });
  });

  test('the second begins when the process of the first was killed', async () => {
    const key = randomUUID();
    await begin(key);
    const second = await add(key);
    await untilPutOff(key);

    await endHolderOf(key);

    await untilBegun(second);
  });
});

test('two jobs with different keys run side by side', async () => {
  const [one, other] = [await begin(randomUUID()), await begin(randomUUID())];

  expect(one.isRunning && other.isRunning).toBe(true);
  expect(one.instance).not.toBe(other.instance);
});

test('many jobs with the same key run one after the other, each of them once', async () => {
  const key = randomUUID();
  const names = await Promise.all(Array.from({ length: 6 }, (_, number) => add(key, `${key} ${number}`)));

  for (let begun = 0; begun < names.length; begun++) {
    const run = await until('the next one begins', () => Promise.resolve(runs[begun]));
    run.finish();
  }

  expect(runs.map(({ name }) => name).sort()).toEqual([...names].sort());
  expect(runs.filter(({ companions }) => companions > 0)).toEqual([]);
});
