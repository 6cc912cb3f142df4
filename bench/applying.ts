import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { EVENTS_CHANNEL } from '../src/events/record-events.js';
import { ACCOUNT_IDS, prepareRequests, requestsOf, sendAll } from './load.js';
import { isIdle, linkAccounts } from './receivers.js';
import { median, printAims, printTable, timed } from './report.js';
import type { Server } from './servers.js';

const ALONE = 200;
const BACKLOG = 200_000;
/** Between two events of another account while a backlog is applied. */
const PAUSE_MS = 250;

/** Measures how soon an event is applied: alone on an idle instance, and beside the backlog of another account. */
export async function benchApplying(app: Server, pool: pg.Pool, databaseUrl: string): Promise<void> {
  const listener = new pg.Client({ connectionString: databaseUrl });
  await listener.connect();
  await listener.query(`LISTEN ${EVENTS_CHANNEL}`);
  try {
    await one(app, listener);
    await backlog(app, pool, listener);
  } finally {
    await listener.end();
  }
}

interface Delays {
  storedMs: number;
  appliedMs: number;
}

/** Sends one event of a linked account, and waits until it is applied: from then on Postgres tells the pages of its user. */
async function deliver(app: Server, listener: pg.Client, request: Buffer, userId?: string): Promise<Delays> {
  const start = performance.now();
  const applied = untilTold(listener, userId).then(() => performance.now() - start);
  const storedMs = await timed(() => sendAll([app.port], [request]));
  return { storedMs, appliedMs: await applied };
}

async function untilTold(listener: pg.Client, userId: string | undefined): Promise<void> {
  for (;;) {
    const [{ payload }] = (await once(listener, 'notification')) as [pg.Notification];
    if (userId === undefined || payload === userId) return;
  }
}

async function one(app: Server, listener: pg.Client): Promise<void> {
  const delays: Delays[] = [];
  for (const request of prepareRequests(ALONE)) {
    delays.push(await deliver(app, listener, request));
    await delay(20);
  }
  const middle = { stored: median(delays.map(storedMs)), applied: median(delays.map(appliedMs)) };
  printTable(
    'One event alone, on an idle instance',
    ['', 'median ms', 'worst ms'],
    [
      ['stored', middle.stored.toFixed(1), Math.max(...delays.map(storedMs)).toFixed(1)],
      ['applied', middle.applied.toFixed(1), Math.max(...delays.map(appliedMs)).toFixed(1)],
    ],
  );
  printAims([
    { what: 'stored, median ms', figure: middle.stored, atMost: 5 },
    { what: 'applied, median ms', figure: middle.applied, atMost: 20 },
  ]);
}

/** Lets a link come for whose account many events wait, and sends events of others meanwhile. */
async function backlog(app: Server, pool: pg.Pool, listener: pg.Client): Promise<void> {
  const accountId = `ava1.ring.account.${randomUUID()}`;
  await insertEvents(pool, accountId);
  await pool.query('VACUUM ANALYZE');
  const [otherId = ''] = ACCOUNT_IDS;
  const { rows } = await pool.query<{ user_id: string }>('SELECT user_id FROM account_links WHERE account_id = $1', [
    otherId,
  ]);
  const start = performance.now();
  await linkAccounts(pool, [accountId]);
  await pool.query(
    `SELECT graphile_worker.add_job('process_inbox', json_build_object('accountIds', ARRAY[$1::text]))`,
    [accountId],
  );
  let seconds: number | undefined;
  const applied = isIdle(pool).then(() => {
    seconds = (performance.now() - start) / 1_000;
  });
  const others: number[] = [];
  while (seconds === undefined) {
    const [request = Buffer.alloc(0)] = requestsOf([otherId], 1);
    others.push((await deliver(app, listener, request, rows[0]?.user_id)).appliedMs);
    await delay(PAUSE_MS);
  }
  await applied;
  printTable(
    `${BACKLOG} events of one account, whose link comes`,
    ['all applied after s', 'events/s', 'of another account meanwhile, median ms', 'worst ms'],
    [[seconds.toFixed(1), (BACKLOG / seconds).toFixed(0), median(others).toFixed(1), Math.max(...others).toFixed(1)]],
  );
  printAims([
    { what: 'all applied after s', figure: seconds, atMost: 60 },
    { what: 'of another account, median ms', figure: median(others), atMost: 100 },
  ]);
}

/** Inserts events directly that wait for the link of an account, of the same types as those that are sent. */
async function insertEvents(pool: pg.Pool, accountId: string): Promise<void> {
  const bodies = requestsOf([accountId], 10).map((request) => request.toString().split('\r\n\r\n')[1] ?? '');
  const ids = bodies.map((body) => (JSON.parse(body) as { meta: { request_id: string } }).meta.request_id);
  await pool.query(
    `INSERT INTO webhook_events (request_id, account_id, type, device_id, status, body, occurred_at, received_at)
     SELECT id, $1, body::json #>> '{data,type}', body::json #>> '{data,attributes,source}', 'PENDING',
            replace(body, sample_id, id::text), now(), now()
       FROM (SELECT gen_random_uuid() AS id, ($2::text[])[1 + number % $4] AS body, ($3::text[])[1 + number % $4] AS sample_id
               FROM generate_series(1, $5::int) AS number) AS event`,
    [accountId, bodies, ids, bodies.length, BACKLOG],
  );
}

const storedMs = (delays: Delays): number => delays.storedMs;
const appliedMs = (delays: Delays): number => delays.appliedMs;
