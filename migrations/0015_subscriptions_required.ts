import type { Knex } from 'knex';

/** What a device offers may need an active subscription that covers it. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE account_links
      -- when Ring last answered what the account has subscribed to; null while it has not
      ADD COLUMN subscriptions_answered_at timestamptz,
      -- when it is asked again by itself; null for at once
      ADD COLUMN subscriptions_ask_at timestamptz`);
  await knex.raw(`
    CREATE INDEX account_links_subscriptions_due ON account_links (subscriptions_ask_at) WHERE status = 'COMPLETED'`);
  // Since when the device has lacked a subscription, with all that follows from it done.
  await knex.raw('ALTER TABLE devices ADD COLUMN uncovered_since timestamptz');
  await knex.raw('CREATE INDEX devices_uncovered ON devices (account_id) WHERE uncovered_since IS NOT NULL');
  // Since when the user has passed without a subscription, as one of SUBSCRIPTION_EXEMPT.
  await knex.raw('ALTER TABLE users ADD COLUMN exempt_since timestamptz');
  await knex.raw('CREATE INDEX users_exempt ON users (exempt_since) WHERE exempt_since IS NOT NULL');
  await replaceCheck(knex, 'live_views', 'end_reason', [...END_REASONS, 'SUBSCRIPTION']);
  await replaceCheck(knex, 'scheduled_operations', 'pause_reason', [...PAUSE_REASONS, 'SUBSCRIPTION']);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`UPDATE scheduled_operations SET pause_reason = 'OFFLINE' WHERE pause_reason = 'SUBSCRIPTION'`);
  await knex.raw(`UPDATE live_views SET end_reason = 'CLOSED' WHERE end_reason = 'SUBSCRIPTION'`);
  await replaceCheck(knex, 'scheduled_operations', 'pause_reason', PAUSE_REASONS);
  await replaceCheck(knex, 'live_views', 'end_reason', END_REASONS);
  await knex.raw('DROP INDEX users_exempt, devices_uncovered, account_links_subscriptions_due');
  await knex.raw('ALTER TABLE users DROP COLUMN exempt_since');
  await knex.raw('ALTER TABLE devices DROP COLUMN uncovered_since');
  await knex.raw('ALTER TABLE account_links DROP COLUMN subscriptions_ask_at, DROP COLUMN subscriptions_answered_at');
}

const END_REASONS = ['CLOSED', 'TIME_LIMIT', 'DEVICE_OFFLINE', 'DEVICE_REMOVED', 'LINK_REMOVED', 'FAILED'];
const PAUSE_REASONS = ['OFFLINE', 'USER'];

async function replaceCheck(knex: Knex, table: string, column: string, values: readonly string[]): Promise<void> {
  const list = values.map((value) => `'${value}'`).join(', ');
  await knex.raw(`
    ALTER TABLE ${table} DROP CONSTRAINT ${table}_${column}_check,
      ADD CONSTRAINT ${table}_${column}_check CHECK (${column} IN (${list}))`);
}
