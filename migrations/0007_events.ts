import type { Knex } from 'knex';

/**
 * The list of events is read from this index alone and in its order. The index includes the columns that make up the
 * kind of an event, so that this also holds if only one kind is wanted. It replaces the narrower index.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX device_events_list ON device_events (account_id, device_id, occurred_at, request_id)
      INCLUDE (type, subtype)`);
  await knex.raw('DROP INDEX device_events_device');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('CREATE INDEX device_events_device ON device_events (account_id, device_id, occurred_at)');
  await knex.raw('DROP INDEX device_events_list');
}
