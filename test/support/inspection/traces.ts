import type { World } from '../worlds/world.js';

/** The tables, the job queue's included, that contain a text anywhere. */
export async function tracesOf(world: Pick<World, 'sql'>, text: string): Promise<string[]> {
  const tables = await world.sql<{ name: string; address: string }>(
    `SELECT tablename AS name, format('%I.%I', schemaname, tablename) AS address FROM pg_tables
      WHERE schemaname IN ('public', 'graphile_worker') ORDER BY tablename`,
  );
  const found: string[] = [];
  for (const { name, address } of tables) {
    const rows = await world.sql(`SELECT 1 FROM ${address} AS one WHERE strpos(to_jsonb(one)::text, $1) > 0 LIMIT 1`, [
      text,
    ]);
    if (rows.length > 0) found.push(name);
  }
  return found;
}
