import type { Knex } from 'knex';

/** What the operator sees is counted often: an index for each count, of no more than what is counted. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw('CREATE INDEX account_links_status ON account_links (status)');
  await knex.raw('CREATE INDEX scheduled_operations_status ON scheduled_operations (status)');
  // Also for those that were left in the middle of a refresh.
  await knex.raw(`CREATE INDEX ring_tokens_refresh_state ON ring_tokens (refresh_state) WHERE status = 'CLAIMED'`);
  // In the order in which they are applied: should it be chosen for that, it serves that too.
  await knex.raw(`
    CREATE INDEX webhook_events_pending ON webhook_events (account_id, id) INCLUDE (received_at)
      WHERE status = 'PENDING'`);
  await knex.raw(`CREATE INDEX webhook_events_failed ON webhook_events (id) WHERE status = 'FAILED'`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`DROP INDEX webhook_events_failed, webhook_events_pending, ring_tokens_refresh_state,
                             scheduled_operations_status, account_links_status`);
}
