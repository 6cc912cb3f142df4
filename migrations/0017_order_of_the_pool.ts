import type { Knex } from 'knex';

/**
 * The order in which pairs enter the pool, so that a page which waits for a pair needs to look at the new ones only.
 *
 * Null: the pair entered the pool through a build that knows no places. Such a pair may be newer than any place says, and is
 * looked at each time.
 */
export async function up(knex: Knex): Promise<void> {
  // Higher than the place of any pair that entered before; see `identifyPair`. It uses the sequence of `arrival`.
  await knex.raw('ALTER TABLE ring_tokens ADD COLUMN pool_place bigint');
  // Answers by itself: backwards, the latest pair comes first, and nulls before it.
  await knex.raw(`
    CREATE INDEX ring_tokens_pool ON ring_tokens (pool_place) INCLUDE (account_id) WHERE status = 'UNCLAIMED'`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX ring_tokens_pool');
  await knex.raw('ALTER TABLE ring_tokens DROP COLUMN pool_place');
}
