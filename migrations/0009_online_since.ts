import type { Knex } from 'knex';

/**
 * `online_at` changes with every message from Ring. People want to know since when the device has been online or
 * offline.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE devices ADD COLUMN online_since timestamptz');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE devices DROP COLUMN online_since');
}
