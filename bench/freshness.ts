import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrateToLatest } from '../src/database/migrate.js';
import { Visitor } from '../test/support/clients/visitor.js';
import { HMAC_KEY } from './load.js';
import { median, printTable, timed } from './report.js';
import { type Server, startServer } from './servers.js';

const EVENTS = 200;
/** The longest delay in ms that the page promises. The tests only show that the event appears, at any time. */
const LIMIT_MS = 1_000;
const APP = fileURLToPath(new URL('../src/main.js', import.meta.url));
const ACCOUNT_ID = `ava1.ring.account.${randomUUID()}`;

/**
 * Measures the time from sending a webhook to one instance until another instance tells an open page, beside the time
 * of a bare NOTIFY of Postgres.
 */
export async function benchFreshness(server: string, directory: string): Promise<void> {
  const databaseUrl = await createDatabase(server);
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  const secrets = {
    SESSION_SECRET: randomBytes(32).toString('hex'),
    TOKEN_ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
  };
  const start = (name: string) =>
    startServer({ name, entry: APP, environment: { ...environment(databaseUrl), ...secrets }, directory });
  const instances: Server[] = [];
  try {
    for (const name of ['told', 'telling']) instances.push(await start(name));
    const [told, telling] = instances;
    const page = await openPage(`http://127.0.0.1:${told?.port}`, pool);
    const all: number[] = [];
    const notified: number[] = [];
    const listener = await listen(databaseUrl);
    for (let index = 0; index < EVENTS; index++) {
      all.push(await timed(() => Promise.all([page.news(), ring(`http://127.0.0.1:${telling?.port}`)])));
      notified.push(await timed(() => Promise.all([once(listener, 'notification'), pool.query('NOTIFY bench')])));
    }
    page.close();
    await listener.end();
    printTable(
      'An event, from its webhook at one instance to an open page at another',
      ['', 'median ms', 'p99 ms', 'at most ms', 'to NOTIFY alone'],
      [
        ['told to the page', ...figures(all), `${LIMIT_MS}`, (median(all) / median(notified)).toFixed(1)],
        ['NOTIFY alone', ...figures(notified), '', '1.0'],
      ],
    );
    if (percentile(all, 0.99) > LIMIT_MS) process.exitCode = 1;
  } finally {
    for (const instance of instances) await instance.stop();
    await pool.end();
  }
}

const figures = (times: number[]): string[] => [median(times).toFixed(1), percentile(times, 0.99).toFixed(1)];

function percentile(times: readonly number[], share: number): number {
  return [...times].sort((a, b) => a - b)[Math.floor((times.length - 1) * share)] ?? Number.NaN;
}

async function createDatabase(server: string): Promise<string> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  await client.query('CREATE DATABASE freshness');
  await client.end();
  const url = new URL(server);
  url.pathname = '/freshness';
  await migrateToLatest(url.href);
  return url.href;
}

async function listen(databaseUrl: string): Promise<pg.Client> {
  const listener = new pg.Client({ connectionString: databaseUrl });
  await listener.connect();
  await listener.query('LISTEN bench');
  return listener;
}

/** Ring is a port where nothing listens: applying these webhooks needs no call. */
const environment = (databaseUrl: string): Record<string, string> => ({
  DATABASE_URL: databaseUrl,
  RING_HMAC_KEY: HMAC_KEY,
  RING_CLIENT_ID: 'bench',
  RING_CLIENT_SECRET: 'bench',
  RING_OAUTH_URL: 'http://127.0.0.1:9',
  RING_API_URL: 'http://127.0.0.1:9',
  RING_SIMULATOR: 'off',
  LOG_LEVEL: 'warn',
});

interface OpenPage {
  /** Fulfils when the page is told that there is news. */
  news(): Promise<void>;
  close(): void;
}

/** Opens the event stream of a user who has linked the account, as a page does. */
async function openPage(origin: string, pool: pg.Pool): Promise<OpenPage> {
  const visitor = new Visitor(origin);
  await visitor.open('/ring/home');
  await visitor.submit('/sign-up', { email: 'bench@example.com', password: randomUUID() });
  await link(pool);
  const sent = request(`${origin}/events/stream`, { agent: false, headers: { cookie: visitor.cookie } });
  sent.end();
  const [stream] = (await once(sent, 'response')) as [IncomingMessage];
  if (stream.statusCode !== 200) throw new Error(`the stream is answered ${stream.statusCode}`);
  stream.setEncoding('utf8');
  return {
    async news() {
      for (;;) {
        const [text] = (await once(stream, 'data')) as [string];
        if (text.includes('data: news')) return;
      }
    },
    close: () => sent.destroy(),
  };
}

/** Inserts a link and a device directly, without a user who links. */
async function link(pool: pg.Pool): Promise<void> {
  await pool.query(
    `WITH pair AS (
       INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                                access_token_expires_at, created_at, claimed_at)
       SELECT id, 'CLAIMED', $1, 'bench', '\\x00', '\\x00', '', now() + interval '4 hours', now(), now() FROM users
     )
     INSERT INTO account_links (id, user_id, account_id, token_id, status, account_identifier, nonce_digest, created_at,
                                updated_at)
     SELECT id, id, $1, id, 'COMPLETED', 'b***h@example.com', '\\x00', now(), now() FROM users`,
    [ACCOUNT_ID],
  );
  await pool.query(
    `INSERT INTO devices (account_id, id, name, online, online_at, fetched_at)
     VALUES ($1, 'bench-door', 'Front Door', true, now(), now())`,
    [ACCOUNT_ID],
  );
}

/** Sends the webhook of a button press at the door. */
async function ring(origin: string): Promise<void> {
  const now = Date.now();
  const body = JSON.stringify({
    meta: { version: '1.1', time: new Date(now).toISOString(), request_id: randomUUID(), account_id: ACCOUNT_ID },
    data: {
      id: `event-${randomUUID()}`,
      type: 'button_press',
      attributes: { source: 'bench-door', source_type: 'devices', timestamp: now },
      relationships: { devices: { links: { self: '/v1/devices/bench-door' } } },
    },
  });
  const signature = `sha256=${createHmac('sha256', HMAC_KEY).update(body).digest('hex')}`;
  const headers = { 'content-type': 'application/json', 'x-signature': signature };
  const { status } = await fetch(`${origin}/webhooks/ring`, { method: 'POST', headers, body });
  if (status !== 200) throw new Error(`the webhook is answered ${status}`);
}
