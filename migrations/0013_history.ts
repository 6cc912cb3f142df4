import type { Knex } from 'knex';

/**
 * Ring's history is merged into the events of devices: an event may be known by its webhook, by its history, or by both.
 * Old instances go on beside this: they find each row by `request_id`, and what they insert is a webhook's.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE device_events
      -- Ring's ID of the event in its history, and its start there; null while the history has not told of it
      ADD COLUMN history_id text,
      ADD COLUMN history_start timestamptz,
      -- no webhook has told of it: request_id is made from the history's ID
      ADD COLUMN is_only_in_history boolean NOT NULL DEFAULT false,
      ADD CONSTRAINT device_events_history_whole CHECK ((history_id IS NULL) = (history_start IS NULL)),
      ADD CONSTRAINT device_events_told_by_somebody CHECK (history_id IS NOT NULL OR NOT is_only_in_history)`);
  await knex.raw(`
    CREATE UNIQUE INDEX device_events_history ON device_events (account_id, device_id, history_id)
      WHERE history_id IS NOT NULL`);
  // By Ring's clock: the device's last removal. What happened until then was erased, and stays so when the device is back.
  await knex.raw('ALTER TABLE devices ADD COLUMN void_before timestamptz');
  await knex.raw('UPDATE devices SET void_before = removed_at WHERE removed_at IS NOT NULL');
  await knex.raw(`
    CREATE TABLE device_histories (
      account_id    text NOT NULL,
      device_id     text NOT NULL,
      -- the time of which events may be missing; null when nothing is
      missing_since timestamptz,
      missing_until timestamptz,
      -- how far back the history is read for it: to the newest event that was known when it began
      read_since    timestamptz,
      -- the address of the page to be read next; null for the first
      next_page     text,
      read_error    text,
      PRIMARY KEY (account_id, device_id),
      CONSTRAINT device_histories_missing_whole CHECK (
        (missing_since IS NULL) = (missing_until IS NULL) AND (missing_since IS NULL) = (read_since IS NULL)),
      CONSTRAINT device_histories_read_while_missing CHECK (
        missing_since IS NOT NULL OR (next_page IS NULL AND read_error IS NULL))
    )`);
  // One row: when any instance served last, by the clock of Postgres, which they share.
  await knex.raw(`
    CREATE TABLE service_presence (
      is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
      seen_at timestamptz NOT NULL
    )`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE service_presence');
  await knex.raw('DROP TABLE device_histories');
  await knex.raw('ALTER TABLE devices DROP COLUMN void_before');
  // Their key is no webhook's.
  await knex.raw('DELETE FROM device_events WHERE is_only_in_history');
  await knex.raw(`
    ALTER TABLE device_events DROP COLUMN history_id, DROP COLUMN history_start, DROP COLUMN is_only_in_history`);
}
