import type { Knex } from 'knex';

/** `online_at` moves with every word of Ring's; people want to know since when it has been so. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE devices ADD COLUMN online_since timestamptz');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE devices DROP COLUMN online_since');
}
