import type { Knex } from 'knex';

/** The columns and indexes that users need to change how they sign in, and to have all their data erased. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE users
      -- counts the changes of e-mail and password: a session that began before the last one has ended
      ADD COLUMN credentials_version integer NOT NULL DEFAULT 0`);
  await knex.raw(`
    ALTER TABLE account_links
      -- the user's e-mail has changed, and Ring still shows the former one
      ADD COLUMN is_identifier_untold boolean NOT NULL DEFAULT false,
      -- earlier events belong to a former link, even after its row is erased
      ADD COLUMN void_before timestamptz`);

  await knex.raw(`
    ALTER TABLE audit_archive
      -- the time when the user deleted the account: from then on the row says what was done and when, but not for whom
      ADD COLUMN erased_at timestamptz,
      ALTER COLUMN link_id DROP NOT NULL,
      ALTER COLUMN account_id DROP NOT NULL,
      ALTER COLUMN account_identifier DROP NOT NULL,
      DROP CONSTRAINT audit_archive_kind_check,
      DROP CONSTRAINT audit_archive_check,
      ADD CONSTRAINT audit_archive_kind_check CHECK (kind IN ('DEVICE_REMOVED', 'LINK_REMOVED', 'ACCOUNT_DELETED')),
      ADD CONSTRAINT audit_archive_link_unless_account CHECK ((kind = 'ACCOUNT_DELETED') = (link_id IS NULL)),
      ADD CONSTRAINT audit_archive_account_is_erased CHECK (kind <> 'ACCOUNT_DELETED' OR erased_at IS NOT NULL),
      ADD CONSTRAINT audit_archive_whole_or_erased CHECK (
        CASE WHEN erased_at IS NULL
             THEN account_id IS NOT NULL AND account_identifier IS NOT NULL
                  AND (kind = 'DEVICE_REMOVED') = (device_id IS NOT NULL)
             ELSE account_id IS NULL AND account_identifier IS NULL AND device_id IS NULL AND request_id IS NULL
                  AND devices = '[]'
        END)`);

  // For finding everything of a user, and every reference to a row that is erased, without reading a whole table.
  await knex.raw(`CREATE INDEX sessions_user ON sessions ((sess #>> '{passport,user}'))`);
  await knex.raw('CREATE INDEX audit_archive_user ON audit_archive (user_id)');
  await knex.raw('CREATE INDEX account_links_token ON account_links (token_id)');
  await knex.raw('CREATE INDEX live_views_user ON live_views (user_id)');
  await knex.raw('CREATE INDEX live_views_link ON live_views (link_id)');
  await knex.raw('CREATE INDEX scheduled_operations_user ON scheduled_operations (user_id)');
  await knex.raw('CREATE INDEX scheduled_operations_link ON scheduled_operations (link_id)');
}

/** The former constraints do not allow erased rows, so these are deleted. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw(`DROP INDEX scheduled_operations_link, scheduled_operations_user, live_views_link, live_views_user,
                             account_links_token, audit_archive_user, sessions_user`);
  await knex.raw('DELETE FROM audit_archive WHERE erased_at IS NOT NULL');
  await knex.raw(`
    ALTER TABLE audit_archive
      DROP CONSTRAINT audit_archive_whole_or_erased,
      DROP CONSTRAINT audit_archive_account_is_erased,
      DROP CONSTRAINT audit_archive_link_unless_account,
      DROP CONSTRAINT audit_archive_kind_check,
      ADD CONSTRAINT audit_archive_kind_check CHECK (kind IN ('DEVICE_REMOVED', 'LINK_REMOVED')),
      ADD CONSTRAINT audit_archive_check CHECK ((kind = 'DEVICE_REMOVED') = (device_id IS NOT NULL)),
      ALTER COLUMN account_identifier SET NOT NULL,
      ALTER COLUMN account_id SET NOT NULL,
      ALTER COLUMN link_id SET NOT NULL,
      DROP COLUMN erased_at`);
  await knex.raw('ALTER TABLE account_links DROP COLUMN void_before, DROP COLUMN is_identifier_untold');
  await knex.raw('ALTER TABLE users DROP COLUMN credentials_version');
}
