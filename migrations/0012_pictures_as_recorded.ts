import type { Knex } from 'knex';

/**
 * Pictures are frames that Ring has recorded, so the same one may be found several times: it is kept once. A picture that is
 * asked for may have to be waited for, which a row of its own says.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    DELETE FROM snapshots AS copy USING snapshots AS kept
     WHERE (copy.account_id, copy.device_id, copy.taken_at) = (kept.account_id, kept.device_id, kept.taken_at)
       AND copy.id > kept.id`);
  await knex.raw(`
    ALTER TABLE snapshots
      -- when we last found it at Ring: the pictures that are kept are those found last
      ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now()`);
  await knex.raw('UPDATE snapshots SET stored_at = taken_at');
  await knex.raw('DROP INDEX snapshots_device');
  await knex.raw('CREATE UNIQUE INDEX snapshots_frame ON snapshots (account_id, device_id, taken_at)');
  await knex.raw(`
    ALTER TABLE devices
      -- whether motion and doorbell events get their pictures by themselves
      ADD COLUMN has_event_pictures boolean NOT NULL DEFAULT false,
      -- the newest picture that its user has deleted was taken then: no schedule brings it back
      ADD COLUMN pictures_deleted_until timestamptz`);
  await knex.raw(`
    ALTER TABLE scheduled_operations
      -- how its last run ended, for its user; last_error is for operators
      ADD COLUMN last_outcome text`);
  await knex.raw(`
    CREATE TABLE picture_requests (
      id           uuid PRIMARY KEY,
      account_id   text NOT NULL,
      device_id    text NOT NULL,
      -- device_events.request_id; null for the latest picture
      event_id     uuid,
      is_automatic boolean NOT NULL,
      status       text NOT NULL CHECK (status IN ('WAITING', 'ENDED')),
      outcome      text,
      -- of the picture that was found, which may have been deleted since
      picture_id   uuid,
      asked_at     timestamptz NOT NULL,
      CONSTRAINT picture_requests_end_has_outcome CHECK ((status = 'ENDED') = (outcome IS NOT NULL))
    )`);
  await knex.raw(`
    CREATE UNIQUE INDEX picture_requests_latest ON picture_requests (account_id, device_id) WHERE event_id IS NULL`);
  await knex.raw(`
    CREATE UNIQUE INDEX picture_requests_event ON picture_requests (account_id, device_id, event_id)
      WHERE event_id IS NOT NULL`);
  await knex.raw(`
    CREATE INDEX picture_requests_waiting ON picture_requests (asked_at) WHERE status = 'WAITING' AND is_automatic`);
  await knex.raw('CREATE INDEX picture_requests_age ON picture_requests USING brin (asked_at)');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE picture_requests');
  await knex.raw('ALTER TABLE scheduled_operations DROP COLUMN last_outcome');
  await knex.raw('ALTER TABLE devices DROP COLUMN pictures_deleted_until, DROP COLUMN has_event_pictures');
  await knex.raw('DROP INDEX snapshots_frame');
  await knex.raw('CREATE INDEX snapshots_device ON snapshots (account_id, device_id, taken_at)');
  await knex.raw('ALTER TABLE snapshots DROP COLUMN stored_at');
}
