import type { Knex } from 'knex';

/**
 * The order in which we received things decides whether a removal is about the installation that brought a pair. One
 * sequence numbers all arrivals for every instance, because the clocks of two instances may differ, and two moments of
 * one clock can be equal.
 *
 * Existing pairs count as older than every event. For them, the times decide.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE ring_tokens
      -- the place of the stored pair in the order of arrival; webhook_events.id uses the same sequence
      ADD COLUMN arrival bigint NOT NULL DEFAULT 0,
      -- by Ring's clock: earlier events belong to an earlier installation. Null if only created_at is known
      ADD COLUMN installed_since timestamptz`);
  await knex.raw(`ALTER TABLE ring_tokens ALTER COLUMN arrival SET DEFAULT nextval('webhook_events_id_seq')`);
  // For telling the users of accounts without a pair that they have removed the app.
  await knex.raw(`
    CREATE INDEX webhook_events_latest_removals ON webhook_events (received_at)
      WHERE type = 'app_integration_removed'`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX webhook_events_latest_removals');
  await knex.raw('ALTER TABLE ring_tokens DROP COLUMN installed_since, DROP COLUMN arrival');
}
