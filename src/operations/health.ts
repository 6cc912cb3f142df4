import { Router } from 'express';
import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '../database/database.js';
import { isMigrated } from '../database/migrate.js';
import type { JobQueue } from '../jobs/queue.js';

export interface HealthDependencies {
  database: Database;
  queue: Pick<JobQueue, 'isAlive'>;
  /** Whether the encryption keys open what is in the database. With others, this instance would seal what nobody else opens. */
  areKeysRight: boolean;
  isShuttingDown: () => boolean;
}

type Check = 'ok' | 'failed';

export type Readiness = Readonly<Record<'database' | 'migrations' | 'keys' | 'queue' | 'accepting', Check>>;

const CHECK_LIMIT_MS = 2_000;

/** `/livez`: the process answers. `/readyz`: it can do its work, so a load balancer may send it some. */
export function healthRoutes(dependencies: HealthDependencies): Router {
  const router = Router();
  router.get('/livez', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
  router.get('/readyz', async (_request, response) => {
    const checks = await checkReadiness(dependencies, CHECK_LIMIT_MS);
    const isReady = Object.values(checks).every((result) => result === 'ok');
    response
      .status(isReady ? 200 : 503)
      .set('Cache-Control', 'no-store')
      .json({ status: isReady ? 'ok' : 'unavailable', checks });
  });
  return router;
}

/** Each thing that is needed, looked at now. A check that takes too long has failed: whoever asks has a time limit too. */
export async function checkReadiness(
  { database, queue, areKeysRight, isShuttingDown }: HealthDependencies,
  limitMs: number,
): Promise<Readiness> {
  const [reachable, migrated] = await Promise.all([
    check(() => database.knex.raw('SELECT 1').then(() => true), limitMs),
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
