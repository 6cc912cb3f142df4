import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrateToLatest } from '../src/database/migrate.js';
import { deviceId, DEVICES_EACH, HMAC_KEY } from './load.js';
import { type Server, startServer } from './servers.js';

const APP = fileURLToPath(new URL('../src/main.js', import.meta.url));
const BARE = fileURLToPath(new URL('bare-receiver.js', import.meta.url));

export interface Receivers {
  app: Server;
  /** Runs one INSERT for each request. */
  insert: Server;
  /** Has no database. */
  bare: Server;
}

export async function startReceivers(databaseUrl: string, directory: string, pool: pg.Pool): Promise<Receivers> {
  // The baseline uses the same Postgres and an equal table, with rows of its own.
  const bareUrl = new URL(databaseUrl);
  bareUrl.pathname = '/bare';
  await pool.query('CREATE DATABASE bare');
  await migrateToLatest(bareUrl.href);
  const start = (name: string, environment: Record<string, string>) =>
    startServer({
      name,
      entry: BARE,
      environment: { NODE_ENV: 'production', RING_HMAC_KEY: HMAC_KEY, ...environment },
      directory,
    });
  return {
    app: await startApp('this app', databaseUrl, directory),
    insert: await start('one INSERT each', { DATABASE_URL: bareUrl.href }),
    bare: await start('no database', {}),
  };
}

export function startApp(name: string, databaseUrl: string, directory: string): Promise<Server> {
  return startServer({ name, entry: APP, environment: appEnvironment(databaseUrl), directory });
}

/** The environment of production. Ring is a port where nothing listens: these events need no call. */
function appEnvironment(databaseUrl: string): Record<string, string> {
  return {
    NODE_ENV: 'production',
    DATABASE_URL: databaseUrl,
    RING_HMAC_KEY: HMAC_KEY,
    PUBLIC_URL: 'https://partner.example.com',
    RING_CLIENT_ID: 'bench',
    RING_CLIENT_SECRET: 'bench',
    RING_OAUTH_URL: 'https://127.0.0.1:9',
    RING_API_URL: 'https://127.0.0.1:9',
    SESSION_SECRET: randomBytes(32).toString('hex'),
    TOKEN_ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
  };
}

/** Inserts links and devices directly, without users who link. */
export async function linkAccounts(pool: pg.Pool, accountIds: readonly string[]): Promise<void> {
  await pool.query(
    `WITH account AS (SELECT account_id, gen_random_uuid() AS id FROM unnest($1::text[]) AS account_id),
     owner AS (
       INSERT INTO users (id, email, password_hash, created_at)
       SELECT id, id || '@example.com', 'none', now() FROM account
     ), pair AS (
       INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                                access_token_expires_at, created_at, claimed_at)
       SELECT id, 'CLAIMED', account_id, 'bench', '\\x00', '\\x00', '', now() + interval '4 hours', now(), now() FROM account
     )
     INSERT INTO account_links (id, user_id, account_id, token_id, status, account_identifier, nonce_digest, created_at,
                                updated_at)
     SELECT id, id, account_id, id, 'COMPLETED', 'b***h@example.com', '\\x00', now(), now() FROM account`,
    [accountIds],
  );
  for (let index = 0; index < DEVICES_EACH; index++) {
    await pool.query(
      `INSERT INTO devices (account_id, id, name, online, online_at, fetched_at)
       SELECT *, 'Front Door', true, now(), now() FROM unnest($1::text[], $2::text[])`,
      [accountIds, accountIds.map((accountId) => deviceId(accountId, index))],
    );
  }
}

/** Waits until all is applied that can be, so that one round leaves no work to the next. */
export async function isIdle(pool: pg.Pool): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      `SELECT 1 FROM graphile_worker.jobs
        UNION ALL
       SELECT 1 FROM webhook_events JOIN account_links USING (account_id) WHERE webhook_events.status = 'PENDING'
        LIMIT 1`,
    );
    if (rows.length === 0) return;
    await delay(20);
  }
}
