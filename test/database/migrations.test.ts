import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import knex, { type Knex } from 'knex';
import pg from 'pg';
import { MIGRATIONS_DIR } from '../../src/configuration/paths.js';
import { isMigrated, migrateToLatest } from '../../src/database/migrate.js';
import type { Tables } from '../../src/database/tables.js';
import { insertPairs } from '../support/features/pairs.js';
import { createTestDatabase, query, type TestDatabase } from '../support/worlds/postgres.js';

const execute = promisify(execFile);

/** Everything that our migrations make: columns, constraints, indexes and the settings of tables. */
async function schemaOf(url: string): Promise<string[]> {
  const rows = await query(
    url,
    `SELECT format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default) AS line
       FROM information_schema.columns WHERE table_schema = 'public'
     UNION SELECT format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid))
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace
     UNION SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
     UNION SELECT format('%s %s', relname, reloptions) FROM pg_class WHERE relnamespace = 'public'::regnamespace
     ORDER BY line`,
  );
  return rows.map(({ line }) => String(line));
}

async function tablesOf(url: string): Promise<string[]> {
  const rows = await query(url, `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename`);
  return rows.map(({ tablename }) => String(tablename)).filter((name) => !name.startsWith('knex_'));
}

async function inDatabase(body: (database: TestDatabase) => Promise<void>): Promise<void> {
  const database = await createTestDatabase();
  try {
    await body(database);
  } finally {
    await database.drop();
  }
}

/** A database as `createdb` leaves it. */
const empty = (url: string) =>
  query(url, 'DROP SCHEMA public CASCADE; DROP SCHEMA graphile_worker CASCADE; CREATE SCHEMA public');

describe('the migrations', () => {
  async function withMigrator(url: string, body: (db: Knex) => Promise<void>): Promise<void> {
    const migrations = { directory: MIGRATIONS_DIR, loadExtensions: ['.js'] };
    const instance = knex({ client: 'pg', connection: url, pool: { min: 0, max: 1 }, migrations });
    try {
      await body(instance);
    } finally {
      await instance.destroy();
    }
  }

  /** Undoes this migration and all later ones. */
  async function goDownBefore(database: Knex, number: string): Promise<void> {
    const isDone = async () => {
      const [done] = (await database.migrate.list()) as [{ name: string }[], unknown];
      return done.some(({ name }) => name.startsWith(number));
    };
    while (await isDone()) await database.migrate.down();
  }

  test('each go down, one by one, and up again to the very same schema', () =>
    inDatabase(async ({ url }) => {
      const latest = await schemaOf(url);
      await withMigrator(url, async (db) => {
        const [all] = (await db.migrate.list()) as [unknown[], unknown[]];
        expect(all.length).toBeGreaterThan(0);
        for (let steps = 1; steps <= all.length; steps += 1) {
          for (let step = 0; step < steps; step += 1) await db.migrate.down();
          const [done] = (await db.migrate.list()) as [unknown[], unknown[]];
          expect(done).toHaveLength(all.length - steps);
          expect(await isMigrated(db)).toBe(false);
          if (steps === all.length) expect(await tablesOf(url)).toEqual([]);
          await db.migrate.latest();
          expect(await schemaOf(url)).toEqual(latest);
        }
      });
    }));

  test('go down with data in every table of ours, and up again empty', () =>
    inDatabase(async ({ url }) => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await insertPairs(client, { status: 'UNCLAIMED', count: 3 });
      await client.query(`
        INSERT INTO users (email, password_hash, created_at) VALUES ('a@example.com', 'x', now());
        INSERT INTO sessions VALUES ('s', '{}', now());
        INSERT INTO rate_limits VALUES ('k', 1, 0);
        INSERT INTO token_exchanges VALUES ('\\x00', 'STORED', now());
        INSERT INTO audit_archive (user_id, kind, occurred_at, archived_at, erased_at, reason, devices, counts)
        VALUES (gen_random_uuid(), 'ACCOUNT_DELETED', now(), now(), now(), 'deleted by its user', '[]', '{}');
        INSERT INTO account_links (id, user_id, account_id, token_id, status, account_identifier, nonce_digest,
                                   created_at, updated_at)
        SELECT gen_random_uuid(), u.id, t.account_id, t.id, 'COMPLETED', 'a***a@example.com', '\\x00', now(), now()
          FROM users u, ring_tokens t`);
      await client.end();
      await withMigrator(url, async (db) => {
        await db.migrate.rollback(undefined, true);
        expect(await tablesOf(url)).toEqual([]);
        await db.migrate.latest();
      });
      expect(await query(url, 'SELECT 1 FROM users, ring_tokens, account_links')).toEqual([]);
    }));

  test('keep the end of a session as it becomes an instant, and never put it off', () =>
    inDatabase(async ({ url }) => {
      const minutesLeft = () =>
        query(
          url,
          'SELECT sid, round(extract(epoch FROM expire - now()) / 60)::int AS left FROM sessions ORDER BY sid',
        );
      const insert = (sid: string, expire: string) =>
        query(url, `INSERT INTO sessions VALUES ('${sid}', '{"cookie": {"originalMaxAge": 3600000}}', ${expire})`);
      await withMigrator(url, async (database) => {
        await goDownBefore(database, '0010');
        await insert('by Postgres', `now() + interval '50 minutes'`);
        // The wall clock of a process in another time zone, which Postgres reads as 17 hours later.
        await insert('in Tokyo', `(now() + interval '50 minutes') AT TIME ZONE 'Asia/Tokyo'`);
        const expected = [
          { sid: 'by Postgres', left: 50 },
          { sid: 'in Tokyo', left: 60 },
        ];
        await database.migrate.up();
        expect(await minutesLeft()).toEqual(expected);
        await database.migrate.down();
        expect(await minutesLeft()).toEqual(expected);
      });
    }));

  test('keep one of the pictures that are the same frame, and its time as that of its storing', () =>
    inDatabase(async ({ url }) => {
      const picturesOf = (columns: string) =>
        query(url, `SELECT ${columns} FROM snapshots ORDER BY device_id, taken_at`);
      await withMigrator(url, async (database) => {
        await goDownBefore(database, '0012');
        await query(
          url,
          `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
           SELECT gen_random_uuid(), 'account', device, '2026-01-01Z'::timestamptz + minute * interval '1 minute', 'image/png', '\\x00'
             FROM unnest(ARRAY['door', 'garage']) device, generate_series(1, 2) minute, generate_series(1, 3) copy`,
        );
        await database.migrate.up();
        const kept = [
          { device_id: 'door', minute: 1, is_stored_then: true },
          { device_id: 'door', minute: 2, is_stored_then: true },
          { device_id: 'garage', minute: 1, is_stored_then: true },
          { device_id: 'garage', minute: 2, is_stored_then: true },
        ];
        const minute = 'extract(minute FROM taken_at)::int AS minute';
        expect(await picturesOf(`device_id, ${minute}, stored_at = taken_at AS is_stored_then`)).toEqual(kept);
        await database.migrate.down();
        expect(await picturesOf('device_id')).toHaveLength(4);
      });
    }));

  test('leave no job to webhook events that wait: they are their own queue. Going down, they get one', () =>
    inDatabase(async ({ url }) => {
      const jobs = () =>
        query(
          url,
          `SELECT payload FROM graphile_worker._private_jobs AS job JOIN graphile_worker._private_tasks AS task
               ON task.id = job.task_id WHERE task.identifier = 'process_inbox'`,
        );
      await query(
        url,
        `INSERT INTO webhook_events (request_id, account_id, type, status, body, occurred_at, received_at)
         SELECT gen_random_uuid(), 'account', 'motion_detected', 'PENDING', '{}', now(), now() FROM generate_series(1, 3)`,
      );
      await withMigrator(url, async (database) => {
        await goDownBefore(database, '0016');
        expect(await jobs()).toEqual([{ payload: { accountIds: ['account'] } }]);
        await database.migrate.up();
        expect(await jobs()).toEqual([]);
      });
    }));

  test('run on an empty database by eight starters at once, three of them processes, once each', () =>
    inDatabase(async ({ url }) => {
      const latest = await schemaOf(url);
      await empty(url);
      const module = new URL('../../src/database/migrate.js', import.meta.url).href;
      const script = `import { migrateToLatest } from '${module}'; await migrateToLatest(process.argv[1]);`;
      const inProcess = () => execute(process.execPath, ['--input-type=module', '--eval', script, url]);
      await Promise.all([
        ...Array.from({ length: 3 }, inProcess),
        ...Array.from({ length: 5 }, () => migrateToLatest(url)),
      ]);
      expect(await schemaOf(url)).toEqual(latest);
      const repeated = await query(url, 'SELECT name FROM knex_migrations GROUP BY name HAVING count(*) > 1');
      expect(repeated).toEqual([]);
      expect(await query(url, 'SELECT 1 FROM graphile_worker.jobs')).toEqual([]);
    }));

  test('go on after a starter that was killed in the middle and left knex’ own lock behind', () =>
    inDatabase(async ({ url }) => {
      const latest = await schemaOf(url);
      await withMigrator(url, (db) => db.migrate.down().then(() => undefined));
      await query(url, 'UPDATE knex_migrations_lock SET is_locked = 1');
      await migrateToLatest(url);
      expect(await schemaOf(url)).toEqual(latest);
    }));

  test('leave a database that is up to date, and its data, as they are', () =>
    inDatabase(async ({ url }) => {
      await query(url, `INSERT INTO users (email, password_hash, created_at) VALUES ('a@example.com', 'x', now())`);
      const before = await schemaOf(url);
      await migrateToLatest(url);
      expect(await schemaOf(url)).toEqual(before);
      expect(await query(url, 'SELECT email FROM users')).toEqual([{ email: 'a@example.com' }]);
    }));
});

describe('the database itself refuses', () => {
  let database: TestDatabase;
  let client: pg.Client;
  beforeAll(async () => {
    database = await createTestDatabase();
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(`INSERT INTO users (email, password_hash, created_at) VALUES ('a@example.com', 'x', now())`);
  });
  beforeEach(() => client.query('TRUNCATE ring_tokens, account_links CASCADE'));
  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  const CHECK = '23514';
  const UNIQUE = '23505';
  const refusal = (code: string) => expect.objectContaining({ code });

  const insertToken = (values: Record<string, string | null>) => {
    const row: Record<string, string | null> = {
      id: '00000000-0000-4000-8000-000000000001',
      status: 'UNCLAIMED',
      account_id: 'account',
      key_id: 'test',
      access_token_ciphertext: '\\x01',
      refresh_token_ciphertext: '\\x02',
      scope: '',
      access_token_expires_at: '2026-10-05',
      created_at: '2026-10-05',
      ...values,
    };
    return insert('ring_tokens', row);
  };
  const insertLink = async (values: Record<string, string | null>) => {
    const { rows } = await client.query<Pick<Tables['users'], 'id'>>('SELECT id FROM users');
    return insert('account_links', {
      id: '00000000-0000-4000-8000-000000000002',
      user_id: rows[0]?.id ?? null,
      account_id: 'account',
      token_id: '00000000-0000-4000-8000-000000000001',
      status: 'CONFIRMING',
      confirmation_step: 'CLAIMED',
      account_identifier: 'a***a@example.com',
      nonce_digest: '\\x00',
      request_key_id: 'test',
      request_ciphertext: '\\x01',
      created_at: '2026-10-05',
      updated_at: '2026-10-05',
      ...values,
    });
  };
  const insert = (table: string, row: Record<string, string | null>) => {
    const places = Object.keys(row).map((_, n) => `$${n + 1}`);
    return client.query(
      `INSERT INTO ${table} (${Object.keys(row).join(', ')}) VALUES (${places.join(', ')})`,
      Object.values(row),
    );
  };
  const erased = { key_id: null, access_token_ciphertext: null, refresh_token_ciphertext: null };

  test.each([
    { status: 'RECEIVED', account_id: null },
    { status: 'UNCLAIMED' },
    { status: 'CLAIMED' },
    { status: 'EXPIRED', ...erased },
    { status: 'EXPIRED', account_id: null, ...erased },
    { status: 'REVOKED', ...erased },
  ])('not a $status pair as it should be', async (values) => {
    expect((await insertToken(values)).rowCount).toBe(1);
  });

  test.each([
    ['an unknown status', { status: 'FRESH' }],
    ['a status in small letters', { status: 'unclaimed' }],
    ['an unclaimed pair without an account', { account_id: null }],
    ['a claimed pair without an account', { status: 'CLAIMED', account_id: null }],
    ['a revoked pair without an account', { status: 'REVOKED', account_id: null, ...erased }],
    ['an expired pair that is still there', { status: 'EXPIRED' }],
    ['a revoked pair that is still there', { status: 'REVOKED' }],
    [
      'an expired pair whose refresh token is still there',
      { ...erased, status: 'EXPIRED', refresh_token_ciphertext: '\\x02' },
    ],
    ['an unclaimed pair without ciphertext', erased],
    ['half a pair', { refresh_token_ciphertext: null }],
    ['a pair without the id of its key', { key_id: null }],
  ])('a token row with %s', async (_what, values) => {
    await expect(insertToken(values)).rejects.toEqual(refusal(CHECK));
  });

  test('a second unclaimed pair of one account, but not a claimed one beside it', async () => {
    await insertToken({});
    const second = { id: '00000000-0000-4000-8000-000000000003' };
    await expect(insertToken(second)).rejects.toEqual(refusal(UNIQUE));
    await insertToken({ ...second, status: 'CLAIMED' });
  });

  const ended = { confirmation_step: null, request_key_id: null, request_ciphertext: null };
  test.each([
    ['an unknown status', { status: 'LINKED' }],
    ['an unknown step', { confirmation_step: 'SHOUTING' }],
    ['a confirmation without a step', { confirmation_step: null }],
    ['a confirmation without its request', { request_ciphertext: null, request_key_id: null }],
    ['a request without the id of its key', { request_key_id: null }],
    ['a request that outlived the confirmation', { status: 'COMPLETED', confirmation_step: null }],
    ['a step that outlived the confirmation', { ...ended, status: 'REFUSED', confirmation_step: 'POSTING' }],
  ])('a link with %s', async (_what, values) => {
    await insertToken({ status: 'CLAIMED' });
    await expect(insertLink(values)).rejects.toEqual(refusal(CHECK));
  });

  test.each(['CONFIRMING', 'COMPLETED', 'REAUTH_REQUIRED'])(
    'a second living link of an account beside one that is %s',
    async (status) => {
      await insertToken({ status: 'CLAIMED' });
      await insertLink(status === 'CONFIRMING' ? {} : { ...ended, status });
      const second = { id: '00000000-0000-4000-8000-000000000004' };
      await expect(insertLink(second)).rejects.toEqual(refusal(UNIQUE));
      await insertLink({ ...second, ...ended, status: 'REMOVED' });
    },
  );

  const archived = {
    user_id: '00000000-0000-4000-8000-000000000005',
    link_id: '00000000-0000-4000-8000-000000000006',
    account_id: 'account',
    account_identifier: 'a***a@example.com',
    kind: 'DEVICE_REMOVED',
    device_id: 'device',
    occurred_at: '2026-10-05',
    archived_at: '2026-10-05',
    reason: 'device_removed',
    devices: '[{"name":"Door"}]',
    counts: '{}',
  };
  const anonymous = {
    account_id: null,
    account_identifier: null,
    device_id: null,
    devices: '[]',
    erased_at: '2026-10-05',
  };
  const deletion = { ...archived, ...anonymous, kind: 'ACCOUNT_DELETED', link_id: null };

  test.each([
    ['a removed device', archived],
    ['a removed device without a user', { ...archived, ...anonymous }],
    ['a removed link', { ...archived, kind: 'LINK_REMOVED', device_id: null }],
    ['a deleted account', deletion],
  ])('not an archived row of %s', async (_what, row) => {
    expect((await insert('audit_archive', row)).rowCount).toBe(1);
  });

  test.each([
    ['of an unknown kind', { ...archived, kind: 'LOST' }],
    ['of a device without the device', { ...archived, device_id: null }],
    ['without the account', { ...archived, account_id: null }],
    ['without the link', { ...archived, link_id: null }],
    ['of a deleted account with a link', { ...deletion, link_id: archived.link_id }],
    ['of a deleted account that is not erased', { ...deletion, erased_at: null }],
    ['that is erased but for the account', { ...archived, ...anonymous, account_id: 'account' }],
    ['that is erased but for the name', { ...archived, ...anonymous, account_identifier: 'a***a@example.com' }],
    ['that is erased but for the device', { ...archived, ...anonymous, device_id: 'device' }],
    ['that is erased but for the webhook', { ...archived, ...anonymous, request_id: archived.user_id }],
    ['that is erased but for what there was', { ...archived, ...anonymous, devices: '[{"name":"Door"}]' }],
  ])('an archived row %s', async (_what, row) => {
    await expect(insert('audit_archive', row)).rejects.toEqual(refusal(CHECK));
  });

  test('an exchange with an outcome that does not exist', async () => {
    const row = { code_digest: '\\x01', outcome: 'MAYBE', started_at: '2026-10-05' };
    await expect(insert('token_exchanges', row)).rejects.toEqual(refusal(CHECK));
  });
});
