import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrateToLatest } from '../src/database/migrate.js';
import { ACCOUNT_IDS, deviceId, DEVICES_EACH, HMAC_KEY, type Load, prepareRequests, sendAll } from './load.js';
import { median, printTable } from './report.js';
import { type Server, startServer } from './servers.js';

const ROUNDS = 5;
const REQUESTS = 10_000;
const WARM_UP_REQUESTS = 5_000;
const SUSTAINED_MS = 60_000;

const APP = fileURLToPath(new URL('../src/main.js', import.meta.url));
const BARE = fileURLToPath(new URL('bare-receiver.js', import.meta.url));

interface Receivers {
  app: Server;
  /** Runs one INSERT for each request. */
  insert: Server;
  /** Has no database. */
  bare: Server;
}

/**
 * Measures the webhook receiver of the whole app beside two that promise less, all under the same load in alternating
 * rounds.
 */
export async function benchWebhooks(databaseUrl: string, directory: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  const receivers = await startReceivers(databaseUrl, directory, pool);
  const all = Object.values(receivers) as Server[];
  let stored = 0;
  const send = async (server: Server, count: number): Promise<Load> => {
    const load = await sendAll(server.port, prepareRequests(count));
    if (server === receivers.app) stored += load.stored;
    return load;
  };
  try {
    for (const server of all) await send(server, WARM_UP_REQUESTS);
    await compare('Webhooks, 64 connections, of 200 accounts that are not linked', receivers, pool, send);
    await linkAccounts(pool);
    await compare('The same of linked accounts: meanwhile what was stored is applied', receivers, pool, send);
    await sustain(receivers.app, pool, send);
    const { rows } = await pool.query<{ count: number }>('SELECT count(*)::int AS count FROM webhook_events');
    printTable('Durable', ['answered 200', 'rows'], [[String(stored), String(rows[0]?.count)]]);
    if (rows[0]?.count !== stored) throw new Error('the answers and the rows differ');
  } finally {
    for (const server of all) await server.stop();
    await pool.end();
  }
}

type Send = (server: Server, count: number) => Promise<Load>;

async function compare(heading: string, receivers: Receivers, pool: pg.Pool, send: Send): Promise<void> {
  const all = Object.values(receivers) as Server[];
  const loads = new Map<Server, Load[]>(all.map((server) => [server, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const server of all) {
      loads.get(server)?.push(await send(server, REQUESTS));
      await isIdle(pool);
    }
  }
  const middle = (server: Server, of: (load: Load) => number) => median((loads.get(server) ?? []).map(of));
  const rates = new Map(all.map((server) => [server, middle(server, rate)]));
  const ratio = (server: Server, to: Server) => (rates.get(server) ?? 0) / (rates.get(to) ?? 0);
  printTable(
    heading,
    ['receiver', 'stored/s', 'p50 ms', 'p99 ms', 'to one INSERT each', 'to no database', 'not 200'],
    all.map((server) => [
      server.name,
      middle(server, rate).toFixed(0),
      middle(server, (load) => percentile(load, 0.5)).toFixed(1),
      middle(server, (load) => percentile(load, 0.99)).toFixed(1),
      ratio(server, receivers.insert).toFixed(2),
      ratio(server, receivers.bare).toFixed(2),
      String((loads.get(server) ?? []).reduce((sum, { refused }) => sum + refused, 0)),
    ]),
  );
}

/** Shows whether the memory stays the same while the events of linked accounts are applied. */
async function sustain(app: Server, pool: pg.Pool, send: Send): Promise<void> {
  const memory: string[][] = [];
  const note = async (when: string) => {
    const { rss, heap } = await app.memory();
    memory.push([when, (rss / 1e6).toFixed(0), (heap / 1e6).toFixed(1)]);
  };
  const loads: Load[] = [];
  const sendFor = async (ms: number) => {
    const end = performance.now() + ms;
    while (performance.now() < end) loads.push(await send(app, REQUESTS));
  };

  await note('start');
  await sendFor(SUSTAINED_MS / 2);
  await note('middle');
  await sendFor(SUSTAINED_MS / 2);
  await note('end');
  const start = performance.now();
  await isIdle(pool);
  const drainSeconds = (performance.now() - start) / 1_000;
  await note('all applied');
  printTable(
    `${SUSTAINED_MS / 1_000} s of the same`,
    ['stored', 'stored/s', 'p99 ms', 'worst p99 ms', 'not 200', 'all applied after s'],
    [
      [
        String(loads.reduce((sum, load) => sum + load.stored, 0)),
        median(loads.map(rate)).toFixed(0),
        median(loads.map((load) => percentile(load, 0.99))).toFixed(1),
        Math.max(...loads.map((load) => percentile(load, 0.99))).toFixed(1),
        String(loads.reduce((sum, load) => sum + load.refused, 0)),
        drainSeconds.toFixed(1),
      ],
    ],
  );
  printTable('Memory of the app, after a collection', ['at', 'RSS MB', 'heap MB'], memory);
}

const rate = ({ stored, seconds }: Load): number => stored / seconds;

function percentile({ latencies }: Load, share: number): number {
  return latencies[Math.floor((latencies.length - 1) * share)] ?? Number.NaN;
}

/** Waits until every job is done, so that one round leaves no work to the next. */
async function isIdle(pool: pg.Pool): Promise<void> {
  for (;;) {
    const { rows } = await pool.query('SELECT 1 FROM graphile_worker.jobs LIMIT 1');
    if (rows.length === 0) return;
    await delay(100);
  }
}

async function startReceivers(databaseUrl: string, directory: string, pool: pg.Pool): Promise<Receivers> {
  // The baseline uses the same Postgres and an equal table, with rows of its own.
  const bareUrl = new URL(databaseUrl);
  bareUrl.pathname = '/bare';
  await pool.query('CREATE DATABASE bare');
  await migrateToLatest(bareUrl.href);
  const shared = { NODE_ENV: 'production', RING_HMAC_KEY: HMAC_KEY };
  const start = (name: string, entry: string, environment: Record<string, string>) =>
    startServer({ name, entry, environment: { ...shared, ...environment }, directory });
  return {
    app: await start('this app', APP, appEnvironment(databaseUrl)),
    insert: await start('one INSERT each', BARE, { DATABASE_URL: bareUrl.href }),
    bare: await start('no database', BARE, {}),
  };
}

/** The environment of production. Ring is a port where nothing listens: these events need no call. */
function appEnvironment(databaseUrl: string): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    PUBLIC_URL: 'https://partner.example.com',
    RING_CLIENT_ID: 'bench',
    RING_CLIENT_SECRET: 'bench',
    RING_OAUTH_URL: 'https://127.0.0.1:9',
    RING_API_URL: 'https://127.0.0.1:9',
    SESSION_SECRET: randomBytes(32).toString('hex'),
    TOKEN_ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
    TRUST_PROXY: '1',
    METRICS_TOKEN: randomBytes(16).toString('hex'),
  };
}

/** Inserts links and devices directly, without users, and clears the events that waited for the links. */
async function linkAccounts(pool: pg.Pool): Promise<void> {
  await pool.query(`UPDATE webhook_events SET status = 'PROCESSED'`);
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
    [ACCOUNT_IDS],
  );
  for (let index = 0; index < DEVICES_EACH; index++) {
    await pool.query(
      `INSERT INTO devices (account_id, id, name, online, online_at, fetched_at)
       SELECT *, 'Front Door', true, now(), now() FROM unnest($1::text[], $2::text[])`,
      [ACCOUNT_IDS, ACCOUNT_IDS.map((accountId) => deviceId(accountId, index))],
    );
  }
  await pool.query('VACUUM ANALYZE');
}
