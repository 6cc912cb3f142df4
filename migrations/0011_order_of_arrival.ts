import type { Knex } from 'knex';

/**
 * Whether a removal tells of the installation that brought a pair is decided by what we received first. One sequence numbers
 * all that arrives, for every instance: the clocks of two instances may differ, and two moments of one clock can be the same.
 *
 * Pairs that are there already count as older than every event; of those, the times decide.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE ring_tokens
      -- the place of the stored pair in the order of arrival, which is that of webhook_events.id
      ADD COLUMN arrival bigint NOT NULL DEFAULT 0,
      -- by Ring's clock: what happened before belongs to an earlier installation. Null where only created_at is known
      ADD COLUMN installed_since timestamptz`);
  await knex.raw(`ALTER TABLE ring_tokens ALTER COLUMN arrival SET DEFAULT nextval('webhook_events_id_seq')`);
  // For telling those whose account has no pair that they have removed the app.
  await knex.raw(`
    CREATE INDEX webhook_events_latest_removals ON webhook_events (received_at)
      WHERE type = 'app_integration_removed'`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX webhook_events_latest_removals');
  await knex.raw('ALTER TABLE ring_tokens DROP COLUMN installed_since, DROP COLUMN arrival');
}
