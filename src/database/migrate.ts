import { runMigrations } from 'graphile-worker';
import knex, { type Knex } from 'knex';
import pg from 'pg';
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
  const lock = new pg.Client({ connectionString: databaseUrl });
  await lock.connect();
  const instance = knex({ client: 'pg', connection: databaseUrl, pool: { min: 0, max: 1 }, migrations: MIGRATIONS });
  try {
    await lock.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    // Knex' own lock is a row that a killed process leaves locked. It is not needed beside ours.
    await instance.migrate.forceFreeMigrationsLock();
    await instance.migrate.latest();
    await runMigrations({ connectionString: databaseUrl });
  } finally {
    await instance.destroy();
    await lock.end();
  }
}

/** Whether every migration that this build knows has run. Throws when the database can't be reached. */
export async function isMigrated(db: Knex): Promise<boolean> {
  const [, pending] = (await db.migrate.list(MIGRATIONS)) as [unknown[], unknown[]];
  return pending.length === 0;
}
