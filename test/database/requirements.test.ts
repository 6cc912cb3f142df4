import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { ConfigError } from '../../src/configuration/config.js';
import { openDatabase } from '../../src/database/database.js';
import { migrateToLatest } from '../../src/database/migrate.js';
import { explained, problemsOf, requireUsableDatabase } from '../../src/database/requirements.js';
import { row, sql } from '../../src/database/sql.js';
import { linked } from '../support/features/linking.js';
import { until } from '../support/waiting/until.js';
import { type Pooler, startPooler } from '../support/worlds/pooler.js';
import {
  createOtherDatabase,
  createTestDatabase,
  type OwnPostgres,
  query,
  startOwnPostgres,
  type TestDatabase,
} from '../support/worlds/postgres.js';
import { createProcessWorld, spawnApp, spawnProcess } from '../support/worlds/process.js';
import { makeSelfSigned, type SelfSigned } from '../support/worlds/tls.js';
import { startWorld } from '../support/worlds/world.js';

const EXPORT = fileURLToPath(new URL('../../src/commands/audit-export.js', import.meta.url));

async function problemsAt(url: string): Promise<readonly string[]> {
  try {
    await requireUsableDatabase(url);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) expect(problem).toMatch(/^DATABASE_URL: [^\n]*expected [^\n]+$/);
    return error.problems;
  }
}

type Parts = Partial<Record<'username' | 'password' | 'hostname' | 'port' | 'pathname' | 'search', string>>;

/** The URL with other parts. */
function withParts(url: string, parts: Parts): string {
  return Object.assign(new URL(url), parts).href;
}

describe('a database in which names would get lost', () => {
  test.each(['LATIN1', 'SQL_ASCII'])(
    '(%s) is refused by the process, in a line that says how to make a good one',
    async (encoding) => {
      const world = await createProcessWorld();
      const database = await createOtherDatabase(`ENCODING '${encoding}' LOCALE_PROVIDER libc LOCALE 'C'`);
      try {
        const app = spawnApp({ ...world.environment, DATABASE_URL: database.url });

        expect(await app.ended).toEqual({ code: 1, signal: null });
        const lines = app.stderr().trimEnd().split('\n');
        expect(lines).toHaveLength(1);
        expect(lines[0]).toMatch(/^DATABASE_URL: .*expected .*ENCODING 'UTF8'/);
        expect(lines[0]).toContain(encoding);
        // Nothing was begun in it.
        expect(await query(database.url, `SELECT to_regclass('users') AS users`)).toEqual([{ users: null }]);
      } finally {
        await database.drop();
        await world.stop();
      }
    },
  );
});

describe('a database', () => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(() => database.drop());

  test('that is good has no problem', async () => {
    expect(await problemsAt(database.url)).toEqual([]);
  });

  test('that takes no changes is refused', async () => {
    await query(
      database.url,
      `ALTER DATABASE ${new URL(database.url).pathname.slice(1)} SET default_transaction_read_only = on`,
    );
    expect(await problemsAt(database.url)).toEqual([expect.stringContaining('takes no changes')]);
  });

  test('that is not there is named as such, and so is a wrong password, which may want percent-encoding', async () => {
    expect(await problemsAt(withParts(database.url, { pathname: '/no-such-database' }))).toEqual([
      expect.stringContaining('no such database'),
    ]);
    const [problem] = await problemsAt(withParts(database.url, { password: 'wrong-password-1' }));
    expect(problem).toContain('percent-encoded');
    expect(problem).not.toContain('wrong-password-1');
  });

  test('in which the role may create nothing is refused', async () => {
    const empty = await createOtherDatabase(`ENCODING 'UTF8'`);
    const role = `role_${new URL(empty.url).pathname.slice(1)}`;
    await query(empty.url, `CREATE ROLE ${role} LOGIN PASSWORD 'of-a-test'`);
    try {
      const url = withParts(empty.url, { username: role, password: 'of-a-test' });
      expect(await problemsAt(url)).toEqual([]);
      await expect(explained(() => migrateToLatest(url))).rejects.toThrow(/^DATABASE_URL: .*expected the owner/);
    } finally {
      await empty.drop();
      await query(database.url, `DROP ROLE ${role}`);
    }
  });

  test('that is out of reach is no mistake of the set-up', async () => {
    const away = withParts(database.url, { port: '9' });
    await expect(requireUsableDatabase(away)).rejects.not.toBeInstanceOf(ConfigError);
  });
});

test('an old version, and all else that is wrong, are named together', () => {
  const facts = { encoding: 'LATIN1', version: 130_012, isReadOnly: true, isShared: true };
  expect(problemsOf(facts)).toHaveLength(4);
  expect(problemsOf(facts).join('\n')).toContain('the server is Postgres 13; expected 14 or newer');
  expect(problemsOf({ encoding: 'UTF8', version: 140_000, isReadOnly: false, isShared: false })).toEqual([]);
});

describe('a pooler', () => {
  let database: TestDatabase;
  let pooler: Pooler | undefined;
  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    await pooler?.close();
    await database.drop();
  });

  test('in session mode needs no setting: what it does not know is said by statements', async () => {
    pooler = await startPooler(database.url, 'session');
    const world = await startWorld({ databaseUrl: pooler.url });
    try {
      await linked(world);
      const [limits] = await world.sql<{ count: number }>(
        `SELECT count(*)::int AS count FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'ring-account-linking%'`,
      );
      expect(limits?.count).toBeGreaterThan(0);
    } finally {
      await world.stop();
    }
  });

  test('in transaction mode is refused, and the line says what to set', async () => {
    pooler = await startPooler(database.url, 'transaction');
    expect(await problemsAt(pooler.url)).toEqual([expect.stringContaining('pool_mode = session')]);
  });
});

test('every connection of ours has its limits and its time zone, however it was made', async () => {
  const database = await createTestDatabase();
  const opened = openDatabase(database.url, pino({ level: 'silent' }));
  try {
    const statement = sql`SELECT current_setting('TimeZone') AS zone, current_setting('statement_timeout') AS statement,
                                 current_setting('idle_in_transaction_session_timeout') AS idle`;
    const expected = { zone: 'UTC', statement: '10s', idle: '10s' };
    expect(await row(opened.knex, statement)).toEqual(expected);
    for (const pool of [opened.pool, opened.patientPool, opened.inboxPool, opened.metricsPool]) {
      expect((await pool.query(statement.numbered)).rows).toEqual([expected]);
    }
  } finally {
    await opened.close();
    await database.drop();
  }
});

describe('a Postgres that takes TLS alone, under a certificate of its own', () => {
  let tls: SelfSigned;
  let postgres: OwnPostgres;
  beforeAll(async () => {
    tls = await makeSelfSigned('localhost');
    postgres = await startOwnPostgres(tls.settings);
  });
  afterAll(async () => {
    await postgres.remove();
    await tls.remove();
  });

  const at = (search: string, hostname = '127.0.0.1') => withParts(postgres.url, { hostname, search });

  test.each([
    ['encrypted and not verified', '?uselibpqcompat=true&sslmode=require', '127.0.0.1'],
    ['the same in one word', '?sslmode=no-verify', '127.0.0.1'],
    ['its authority known, whatever its name', '?uselibpqcompat=true&sslmode=verify-ca&sslrootcert=CA', '127.0.0.1'],
    ['the same as psql has it', '?uselibpqcompat=true&sslmode=require&sslrootcert=CA', '127.0.0.1'],
    ['its authority known, and its name', '?sslmode=verify-full&sslrootcert=CA', 'localhost'],
    ['the same in other words', '?sslmode=require&sslrootcert=CA', 'localhost'],
  ])('%s: pools, migrations, the feed and the commands connect alike', async (_what, form, host) => {
    const url = at(form.replace('CA', tls.certificate), host);

    expect(await problemsAt(url)).toEqual([]);
    await migrateToLatest(url);
    const opened = openDatabase(url, pino({ level: 'silent' }));
    try {
      const statement = sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`;
      expect(await row(opened.knex, statement)).toEqual({ ssl: true });
      for (const pool of [opened.pool, opened.patientPool, opened.inboxPool, opened.metricsPool]) {
        expect((await pool.query(statement.numbered)).rows).toEqual([{ ssl: true }]);
      }
    } finally {
      await opened.close();
    }
  });

  test('the whole service runs on it, and an operator’s command', async () => {
    const url = at('?uselibpqcompat=true&sslmode=require');
    const world = await createProcessWorld();
    try {
      await world.startApp({ DATABASE_URL: url });
      const listening = `SELECT count(*)::int AS count FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
                          WHERE ssl AND application_name = 'ring-account-linking events'`;
      await until('the feed listens', async () => (await query(url, listening))[0]?.count === 1);
      const command = spawnProcess(process.execPath, [EXPORT], { DATABASE_URL: url });
      expect(await command.ended).toEqual({ code: 0, signal: null });
    } finally {
      await world.stop();
    }
  });

  test.each([
    ['without TLS', '', 'the server wants TLS'],
    ['in plain text', '?sslmode=disable', 'the server wants TLS'],
    ['without its authority', '?sslmode=require', 'expected sslrootcert=/path/to/ca.pem'],
    ['by another name', '?sslmode=verify-full&sslrootcert=CA', 'for another host name'],
  ])('is not reached %s, and the line says what to write', async (_how, form, expected) => {
    expect(await problemsAt(at(form.replace('CA', tls.certificate)))).toEqual([expect.stringContaining(expected)]);
  });

  test('and one that has no TLS is said to have none', async () => {
    const plain = await createTestDatabase();
    expect(await problemsAt(withParts(plain.url, { search: '?sslmode=no-verify' }))).toEqual([
      expect.stringContaining('the server has no TLS'),
    ]);
    await plain.drop();
  });
});
