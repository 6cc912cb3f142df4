import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../src/development/embedded-postgres.js';

const execute = promisify(execFile);

/** Migrated once in global setup, closed to connections, and copied for each test that needs a database. */
export const TEMPLATE_DATABASE = 'app';

/** The data folder of a stopped Postgres with the migrated, empty database `app`. */
export const clusterTemplate = (): string => join(fromGlobalSetup('TEST_DIRECTORY'), 'template');

/** Makes the data folder of a Postgres by copying. A new cluster would take ten times as long. */
export async function copyCluster(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  // `fs.cp` does not keep the owner, and the files belong to the user that Postgres runs as.
  await execute('cp', ['-a', join(clusterTemplate(), 'cluster'), join(dataDir, 'cluster')]);
}

/**
 * Settings of every Postgres of the tests. Its time zone is on the other side of UTC than the one in jest.config.js.
 */
export const TEST_SETTINGS = { timezone: 'America/Los_Angeles' };

export interface TestDatabase {
  url: string;
  /** Drops the database, and ends the connections to it that are left. */
  drop(): Promise<void>;
}

/**
 * A migrated, empty database of the caller's own, on the Postgres that the whole run shares. It takes 50 to 300 ms,
 * depending on the disk.
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const server = fromGlobalSetup('TEST_POSTGRES_URL');
  // Any number of workers may copy at once. Only a connection to the template would prevent it, and it allows none.
  await query(server, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE_DATABASE}`);
  return {
    url: databaseUrl(server, name),
    async drop() {
      await query(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

/** The URL of another database on the same server. */
export function databaseUrl(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs one statement on a connection of its own. */
export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return rows;
  } finally {
    await client.end();
  }
}

export interface OwnPostgres {
  /** The URL of the database `app`, migrated and empty. It stays the same over a restart. */
  url: string;
  /** Shuts down in order and keeps the data. */
  stop(): Promise<void>;
  /** Kills Postgres like a crash: nothing is flushed, and no client is told. */
  kill9(): Promise<void>;
  /** Starts again after `stop` or `kill9`, with the same data on the same port. */
  restart(): Promise<void>;
  /** Stops it if it runs, and deletes its data. */
  remove(): Promise<void>;
}

/**
 * A Postgres for a test that stops or kills it, or needs other settings. It flushes to disk like a real one, so that
 * confirmed data must survive.
 */
export async function startOwnPostgres(settings: Readonly<Record<string, string>> = {}): Promise<OwnPostgres> {
  const dataDir = await mkdtemp(join(fromGlobalSetup('TEST_DIRECTORY'), 'own-'));
  await copyCluster(dataDir);
  const all = { ...TEST_SETTINGS, ...settings };
  const start = (port?: number) =>
    startEmbeddedPostgres({ dataDir, settings: all, log: () => undefined, ...(port && { port }) });
  let running: EmbeddedPostgres | undefined = await start();
  const { url } = running;

  async function stop() {
    await running?.stop();
    running = undefined;
  }
  return {
    url,
    stop,
    async kill9() {
      if (running !== undefined) process.kill(running.pid, 'SIGKILL');
      await stop();
    },
    async restart() {
      await stop();
      running = await start(Number(new URL(url).port));
    },
    async remove() {
      await stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** An empty, unmigrated database of the caller's own. @param options of CREATE DATABASE */
export async function createOtherDatabase(options: string): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const server = fromGlobalSetup('TEST_POSTGRES_URL');
  await query(server, `CREATE DATABASE ${name} TEMPLATE template0 ${options}`);
  return {
    url: databaseUrl(server, name),
    async drop() {
      await query(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

function fromGlobalSetup(variable: string): string {
  const value = process.env[variable];
  if (value === undefined)
    throw new Error(`${variable} is set by test/support/suite/global-setup.ts: run this under jest`);
  return value;
}
