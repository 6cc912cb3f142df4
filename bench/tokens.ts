import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { pino } from 'pino';
import { openDatabase } from '../src/database/database.js';
import { createRingClient } from '../src/ring/client.js';
import { createAccessTokens } from '../src/tokens/access-tokens.js';
import { refreshInBackground } from '../src/tokens/background-refresh.js';
import { createCallBudget, REFRESH_SHARE } from '../src/tokens/call-budget.js';
import { sealPair } from '../src/tokens/token-pairs.js';
import { createVault } from '../src/tokens/vault.js';
import { print, printTable, timed } from './report.js';

const CALLERS = 1_000;
const LINKS = 10_000;
const RING_LATENCY_MS = 50;
const DAY_MS = 24 * 60 * 60_000;

/** Measures the cost of valid tokens: many callers of one link, and the daily pass over many links. */
export async function benchTokens(databaseUrl: string): Promise<void> {
  const ring = await startTokenServer();
  const log = pino({ level: 'silent' });
  const database = openDatabase(databaseUrl, log);
  const stats = new pg.Client({ connectionString: databaseUrl });
  await stats.connect();
  const vault = createVault([{ id: 'bench', key: randomBytes(32) }]);
  const client = createRingClient({ oauthUrl: ring.url, apiUrl: ring.url, clientId: 'bench', clientSecret: 'bench' });
  let now = new Date();
  const dependencies = {
    db: database.knex,
    ring: client,
    vault,
    clock: () => now,
    log,
    onHealed: () => Promise.resolve(),
    onRefresh: () => undefined,
  };
  const tokens = createAccessTokens(dependencies);

  async function insertLinks(count: number, prefix: string): Promise<void> {
    await stats.query(`INSERT INTO users (email, password_hash, created_at) VALUES ($1, '', now())`, [
      `${prefix}@bench`,
    ]);
    for (let index = 0; index < count; index++) {
      const id = randomUUID();
      const pair = sealPair(vault, id, {
        accessToken: `at-${id}`,
        refreshToken: `rt-${id}`,
        scope: '',
        expiresIn: 14_400,
      });
      await stats.query(
        `WITH token AS (
           INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                                    access_token_expires_at, created_at, claimed_at)
           VALUES ($1, 'CLAIMED', $2, $3, $4, $5, '', $6, $7, $7))
         INSERT INTO account_links (id, user_id, account_id, token_id, status, account_identifier, nonce_digest, created_at,
                                    updated_at)
         VALUES (gen_random_uuid(), (SELECT id FROM users WHERE email = $8), $2, $1, 'COMPLETED', '', '\\x00', $7, $7)`,
        [
          id,
          `${prefix}.${index}`,
          pair.key_id,
          pair.access_token_ciphertext,
          pair.refresh_token_ciphertext,
          new Date(now.getTime() + 14_400_000),
          now,
          `${prefix}@bench`,
        ],
      );
    }
  }

  try {
    await insertLinks(1, 'one');
    const call = () => tokens.forAccount('one.0', (accessToken) => Promise.resolve(accessToken));
    const validMs = await timed(() => Promise.all(Array.from({ length: CALLERS }, call)));
    now = new Date(now.getTime() + DAY_MS / 2);
    const staleMs = await timed(() => Promise.all(Array.from({ length: CALLERS }, call)));
    printTable(
      `${CALLERS} concurrent calls for one link's access token`,
      ['token', 'refreshes', 'ms', 'ratio'],
      [
        ['valid', '0', validMs.toFixed(0), '1.00'],
        ['run out', `${ring.calls.length}`, staleMs.toFixed(0), (staleMs / validMs).toFixed(2)],
      ],
    );

    print(`inserting ${LINKS} links …`);
    await insertLinks(LINKS, 'many');
    now = new Date(now.getTime() + DAY_MS + 1_000);
    ring.calls.length = 0;
    globalThis.gc?.();
    const heapBefore = process.memoryUsage().heapUsed;
    const before = await commits(stats);
    const cpuBefore = process.cpuUsage();
    const budget = createCallBudget(database.pool, REFRESH_SHARE, () => false);
    const ms = await timed(() => refreshInBackground({ ...dependencies, tokens, budget, isStopping: () => false }));
    const cpu = process.cpuUsage(cpuBefore);
    const after = await commits(stats);
    globalThis.gc?.();
    const kept = (process.memoryUsage().heapUsed - heapBefore) / 1e6;
    printTable(
      `The background pass over ${LINKS} links that are due, Ring answering in ${RING_LATENCY_MS} ms`,
      [
        'refreshed',
        's',
        'calls/s mean',
        'calls/s highest',
        'our limit',
        'Ring’s limit',
        'commits each',
        'CPU %',
        'kept MB',
      ],
      [
        [
          `${ring.calls.length}`,
          (ms / 1_000).toFixed(0),
          ((ring.calls.length * 1_000) / ms).toFixed(1),
          `${busiestSecond(ring.calls)}`,
          '50',
          '100',
          ((after - before) / ring.calls.length).toFixed(1),
          ((cpu.user + cpu.system) / 10 / ms).toFixed(0),
          kept.toFixed(1),
        ],
      ],
    );
  } finally {
    // The next benchmark has other keys, which can't open these rows.
    await stats.query('TRUNCATE users, account_links, ring_tokens CASCADE');
    await stats.end();
    await database.close();
    ring.server.close();
    ring.server.closeAllConnections();
  }
}

/** A server that answers every refresh with a new pair and records when it was called. */
async function startTokenServer(): Promise<{ url: string; calls: number[]; server: Server }> {
  const calls: number[] = [];
  const server = createServer((request, response) => {
    calls.push(performance.now());
    request.resume();
    setTimeout(() => {
      const pair = { access_token: `at-${calls.length}`, refresh_token: `rt-${calls.length}` };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ ...pair, scope: '', expires_in: 14_400, token_type: 'Bearer' }));
    }, RING_LATENCY_MS);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls, server };
}

/** The largest number of calls within one second. */
function busiestSecond(calls: readonly number[]): number {
  let most = 0;
  let first = 0;
  for (let last = 0; last < calls.length; last++) {
    while ((calls[last] ?? 0) - (calls[first] ?? 0) >= 1_000) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

async function commits(client: pg.Client): Promise<number> {
  await client.query('SELECT pg_stat_clear_snapshot()');
  const { rows } = await client.query<{ commits: number }>(
    'SELECT xact_commit::int AS commits FROM pg_stat_database WHERE datname = current_database()',
  );
  return rows[0]?.commits ?? 0;
}
