import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { readConfig } from '../src/configuration/config.js';
import { startService } from '../src/service.js';
import { systemClock } from '../src/time/clock.js';
import { printTable, timed } from './report.js';

/**
 * Limits that others rely on, in ms. Prometheus waits no longer for an answer, and an orchestrator kills a process that
 * has not stopped by then.
 */
const LIMITS = { scrape: 2_000, stop: 20_000 };
/** Longer than an answer of /metrics is given to all who ask, in ms. */
const FRESH_MS = 1_100;

/**
 * Measures how long an operator waits while a table is locked. The tests only show that an answer comes, at any time.
 */
export async function benchTrouble(databaseUrl: string): Promise<void> {
  const config = readConfig({
    PORT: '3000',
    DATABASE_URL: databaseUrl,
    RING_CLIENT_ID: 'bench',
    RING_CLIENT_SECRET: 'bench',
    RING_HMAC_KEY: 'bench',
    SESSION_SECRET: randomBytes(32).toString('hex'),
    TOKEN_ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
  });
  const log = pino({ level: 'silent' });
  const service = await startService({ config, databaseUrl, port: 0, clock: systemClock, log });
  const scrape = () => timed(async () => (await fetch(`http://127.0.0.1:${service.port}/metrics`)).text());
  const other = new pg.Client({ connectionString: databaseUrl });
  await other.connect();
  try {
    const wellMs = await scrape();
    await other.query('BEGIN; LOCK TABLE account_links IN ACCESS EXCLUSIVE MODE');
    await delay(FRESH_MS);
    const lockedMs = await scrape();
    await other.query('ROLLBACK');
    const stopMs = await timed(() => service.stop());

    const row = (what: string, ms: number, limitMs: number) => [what, ms.toFixed(0), `${limitMs}`];
    printTable(
      'answers to the operator',
      ['what', 'ms', 'at most'],
      [
        row('/metrics', wellMs, LIMITS.scrape),
        row('/metrics, a table locked', lockedMs, LIMITS.scrape),
        row('stop', stopMs, LIMITS.stop),
      ],
    );
    if (Math.max(wellMs, lockedMs) > LIMITS.scrape || stopMs > LIMITS.stop) process.exitCode = 1;
  } finally {
    await other.end();
  }
}
