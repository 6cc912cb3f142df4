import type { Knex } from 'knex';

/** The refresh of each token pair: when the last one was, and the result of the attempts since. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE ring_tokens
      -- counts the pairs that this row has held: a replacement names the one that it replaces
      ADD COLUMN generation integer NOT NULL DEFAULT 0,
      -- the time when Ring issued the present refresh token, which lives about 30 days; null for the first, of created_at
      ADD COLUMN refreshed_at timestamptz,
      -- REFRESHING: Ring is being asked, or was when the process died, and may have replaced the refresh token.
      -- UNCERTAIN: a process asked and got no answer. FAILING: Ring could not be asked, and the pair is unchanged
      ADD COLUMN refresh_state text NOT NULL DEFAULT 'FINE'
        CHECK (refresh_state IN ('FINE', 'REFRESHING', 'UNCERTAIN', 'FAILING')),
      -- by the clock of Postgres, which all instances share
      ADD COLUMN refresh_started_at timestamptz,
      ADD COLUMN refresh_failures integer NOT NULL DEFAULT 0,
      ADD COLUMN refresh_error text,
      -- no attempt before then
      ADD COLUMN refresh_after timestamptz,
      -- reserved until then by a background pass
      ADD COLUMN refresh_queued_until timestamptz`);
  // The time when Ring confirmed the present installation; null before that.
  await knex.raw('ALTER TABLE account_links ADD COLUMN completed_at timestamptz');
  await knex.raw(`UPDATE account_links SET completed_at = updated_at WHERE status = 'COMPLETED'`);
  await knex.raw(`
    CREATE INDEX ring_tokens_refresh ON ring_tokens (coalesce(refreshed_at, created_at)) WHERE status = 'CLAIMED'`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX ring_tokens_refresh');
  await knex.raw('ALTER TABLE account_links DROP COLUMN completed_at');
  await knex.raw(`
    ALTER TABLE ring_tokens
      DROP COLUMN refresh_queued_until, DROP COLUMN refresh_after, DROP COLUMN refresh_error, DROP COLUMN refresh_failures,
      DROP COLUMN refresh_started_at, DROP COLUMN refresh_state, DROP COLUMN refreshed_at, DROP COLUMN generation`);
}
