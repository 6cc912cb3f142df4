import { setTimeout as delay } from 'node:timers/promises';
import { Router } from 'express';
import type { Database } from '../database/database.js';
import { isMigrated } from '../database/migrate.js';
import { run, sql } from '../database/sql.js';
import type { JobQueue } from '../jobs/queue.js';

export interface HealthOptions {
  database: Database;
  queue: Pick<JobQueue, 'isAlive'>;
  /** Whether the encryption keys open the tokens in the database. An instance with others would seal what no other opens. */
  areKeysRight: boolean;
  isShuttingDown: () => boolean;
  /** What is wrong with the set-up. It is told and refuses nobody, because strangers may be the cause. */
  warnings: () => readonly string[];
}

type Check = 'ok' | 'failed';

export type Readiness = Readonly<Record<'database' | 'migrations' | 'keys' | 'queue' | 'accepting', Check>>;

const CHECK_LIMIT_MS = 2_000;

/** `/livez`: the process answers. `/readyz`: it can do its work, so a load balancer may send it some. */
export function healthRoutes(options: HealthOptions): Router {
  const router = Router();
  router.get('/livez', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
  router.get('/readyz', async (_request, response) => {
    const checks = await checkReadiness(options, CHECK_LIMIT_MS);
    const warnings = options.warnings();
    const isReady = Object.values(checks).every((result) => result === 'ok');
    response
      .status(isReady ? 200 : 503)
      .set('Cache-Control', 'no-store')
      .json({ status: isReady ? 'ok' : 'unavailable', checks, ...(warnings.length > 0 && { warnings }) });
  });
  return router;
}

/** Checks everything that this instance needs. A check that takes longer than `limitMs` has failed. */
export async function checkReadiness(
  { database, queue, areKeysRight, isShuttingDown }: Omit<HealthOptions, 'warnings'>,
  limitMs: number,
): Promise<Readiness> {
  const [reachable, migrated] = await Promise.all([
    check(() => run(database.knex, sql`SELECT 1`).then(() => true), limitMs),
    check(() => isMigrated(database.knex), limitMs),
  ]);
  return {
    database: reachable,
    migrations: migrated,
    keys: areKeysRight ? 'ok' : 'failed',
    queue: queue.isAlive() ? 'ok' : 'failed',
    accepting: isShuttingDown() ? 'failed' : 'ok',
  };
}

async function check(isHealthy: () => Promise<boolean>, limitMs: number): Promise<Check> {
  const limit = delay(limitMs, false, { ref: false });
  const result = await Promise.race([isHealthy().catch(() => false), limit]);
  return result ? 'ok' : 'failed';
}
