import { Router } from 'express';
import type { Database } from '../database/database.js';
import { isMigrated } from '../database/migrate.js';
import { run, sql } from '../database/sql.js';
import type { JobQueue } from '../jobs/queue.js';
import { within } from '../time/within.js';
import { shareLook } from './shared-look.js';

export interface ReadinessOptions {
  database: Database;
  queue: Pick<JobQueue, 'isAlive'>;
  /** Whether the encryption keys open the tokens in the database. An instance with others would seal what no other opens. */
  areKeysRight: boolean;
  isShuttingDown: () => boolean;
  /** For how long a look at the database counts, in ms. */
  freshMs: number;
}

type Check = 'ok' | 'failed';

/**
 * Checks everything that this instance needs. Those who ask share their looks at the database, which a stranger's requests
 * can't multiply. All else is as of this moment: a shutdown shows at once.
 *
 * @param limitMs a look at the database that takes longer has failed, for the one who asks
 */
export type Readiness = (
  limitMs: number,
) => Promise<Readonly<Record<'database' | 'migrations' | 'keys' | 'queue' | 'accepting', Check>>>;

const CHECK_LIMIT_MS = 2_000;

export function createReadiness(options: ReadinessOptions): Readiness {
  const { database, queue, areKeysRight, isShuttingDown, freshMs } = options;
  const isReachable = shareLook(
    freshMs,
    async () => (await run(database.knex, sql`SELECT true AS is_reachable`)) === 1,
  );
  const hasMigrated = shareLook(freshMs, () => isMigrated(database.knex));
  return async (limitMs) => {
    const looks = [isReachable, hasMigrated].map((look) => within(limitMs, look()).catch(() => false));
    const [reachable, migrated] = await Promise.all(looks);
    return {
      database: toCheck(reachable === true),
      migrations: toCheck(migrated === true),
      keys: toCheck(areKeysRight),
      queue: toCheck(queue.isAlive()),
      accepting: toCheck(!isShuttingDown()),
    };
  };
}

const toCheck = (isGood: boolean): Check => (isGood ? 'ok' : 'failed');

/** `/livez`: the process answers. `/readyz`: it can do its work, so a load balancer may send it some. */
export function healthRoutes(readiness: Readiness): Router {
  const router = Router();
  router.get('/livez', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
  router.get('/readyz', async (_request, response) => {
    const checks = await readiness(CHECK_LIMIT_MS);
    const isReady = Object.values(checks).every((result) => result === 'ok');
    response
      .status(isReady ? 200 : 503)
      .set('Cache-Control', 'no-store')
      .json({ status: isReady ? 'ok' : 'unavailable', checks });
  });
  return router;
}
