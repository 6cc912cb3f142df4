import pg from 'pg';
import type { World } from '../worlds/world.js';
import { until } from './until.js';

/** Takes a lock by a statement, on a connection of its own, and keeps it until it is released. */
export async function holdLock(
  world: Pick<World, 'databaseUrl'>,
  statement: string,
  values: unknown[] = [],
): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: world.databaseUrl });
  await client.connect();
  await client.query('BEGIN');
  await client.query(statement, values);
  return () => client.end();
}

/** Waits until so many connections wait for a lock of another connection. */
export async function untilLocksAwaited(world: Pick<World, 'sql'>, waiting: number): Promise<void> {
  await until(`locks are awaited by ${waiting}`, async () => {
    const found = await world.sql(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return found.length >= waiting;
  });
}
