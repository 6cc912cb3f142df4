import type { Knex } from 'knex';

/** How each token pair is kept valid: when it was last refreshed, and what became of the attempts since. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE ring_tokens
      -- counts the pairs that this row has held: whoever replaces one must have seen it
      ADD COLUMN generation integer NOT NULL DEFAULT 0,
      -- when Ring issued the present refresh token, which lives about 30 days; null while it is the first, of created_at
      ADD COLUMN refreshed_at timestamptz,
      -- REFRESHING: Ring is being asked, or was when the process died, and may have replaced the refresh token.
      -- UNCERTAIN: somebody asked and learned no answer. FAILING: Ring could not be asked, the pair is as it was
      ADD COLUMN refresh_state text NOT NULL DEFAULT 'FINE'
        CHECK (refresh_state IN ('FINE', 'REFRESHING', 'UNCERTAIN', 'FAILING')),
      -- by the clock of Postgres, which all instances share
      ADD COLUMN refresh_started_at timestamptz,
      ADD COLUMN refresh_failures integer NOT NULL DEFAULT 0,
      ADD COLUMN refresh_error text,
      -- not before then
      ADD COLUMN refresh_after timestamptz,
      -- until then, a background pass has taken it upon itself
      ADD COLUMN refresh_queued_until timestamptz`);
  // When Ring confirmed the present installation; null while it has not.
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
