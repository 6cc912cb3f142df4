import { runMigrations } from 'graphile-worker';
import knex, { type Knex } from 'knex';
import pg from 'pg';
import { readDatabaseUrl } from '../configuration/database-url.js';
import { MIGRATIONS_DIR } from '../configuration/paths.js';

/** The key of the advisory lock: any number that no other program on the database uses. */
const MIGRATION_LOCK = 0x52494e47;

const MIGRATIONS: Knex.MigratorConfig = { directory: MIGRATIONS_DIR, loadExtensions: ['.js'] };

/**
 * Brings our tables and the job engine's schema to the newest version. Instances that start together take turns: the
 * advisory lock goes away with its connection, so a process that dies halfway blocks no other. The connections keep the
 * time zone that the database gives them: times that were stored without one were written in it.
 */
export async function migrateToLatest(databaseUrl: string): Promise<void> {
  const lock = new pg.Client(readDatabaseUrl(databaseUrl));
  await lock.connect();
  const instance = knex({
    client: 'pg',
    connection: readDatabaseUrl(databaseUrl) as Knex.PgConnectionConfig,
    pool: { min: 0, max: 1 },
    migrations: MIGRATIONS,
  });
  const enginePool = openEnginePool(databaseUrl);
  try {
    await lock.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    // Knex' own lock is a row that a killed process leaves locked. It is not needed beside ours.
    await instance.migrate.forceFreeMigrationsLock();
    await instance.migrate.latest();
    await runMigrations({ pgPool: enginePool });
  } finally {
    await Promise.all([instance.destroy(), enginePool.end()]);
    await lock.end();
  }
}

/** The job engine is given a pool, because it would read the URL in its own way. */
function openEnginePool(databaseUrl: string): pg.Pool {
  const pool = new pg.Pool({ ...readDatabaseUrl(databaseUrl), max: 1 });
  // The statement under way fails, too. An error event that nobody hears would end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Whether every migration that this build knows has run. Throws when the database can't be reached. */
export async function isMigrated(db: Knex): Promise<boolean> {
  const [, pending] = (await db.migrate.list(MIGRATIONS)) as [unknown[], unknown[]];
  return pending.length === 0;
}
