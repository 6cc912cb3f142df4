import type { Knex } from 'knex';

/**
 * Ring tells no type of a device: what it is, is learned. And some devices are sensors, each with up to four words of Ring's
 * that come late and in any order.
 *
 * An instance of the release before does not erase the sensors of a device that it removes. The constraint refuses that
 * removal, which is tried again until an instance of this release does it.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE devices
      -- it has a button that somebody has pressed
      ADD COLUMN is_doorbell boolean NOT NULL DEFAULT false,
      -- by sensor, what Ring has told of it; null before it has told anything
      ADD COLUMN sensors jsonb,
      -- when Ring was last asked for the status, and answered
      ADD COLUMN status_fetched_at timestamptz,
      ADD CONSTRAINT devices_removed_means_sensors_erased CHECK (removed_at IS NULL OR sensors IS NULL)`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE devices DROP COLUMN is_doorbell, DROP COLUMN sensors, DROP COLUMN status_fetched_at');
}
