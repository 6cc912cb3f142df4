import type { Knex } from 'knex';

/** Metrics count rows often. Each count that has no index gets one, as narrow as possible. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw('CREATE INDEX account_links_status ON account_links (status)');
  await knex.raw('CREATE INDEX scheduled_operations_status ON scheduled_operations (status)');
  await knex.raw(`CREATE INDEX ring_tokens_refresh_state ON ring_tokens (refresh_state) WHERE status = 'CLAIMED'`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX ring_tokens_refresh_state, scheduled_operations_status, account_links_status');
}
