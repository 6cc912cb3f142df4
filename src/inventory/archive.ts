import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { IS_LIVE } from '../ring-accounts/link-conditions.js';
import { bindScope, type DeviceScope, IN_SCOPE } from '../ring-accounts/device-scope.js';
import type { Core } from '../core.js';

export interface Removal extends DeviceScope {
  kind: 'DEVICE_REMOVED' | 'LINK_REMOVED';
  /** Why: the webhook that told us, or Ring's answer when we asked. */
  reason: 'device_removed' | 'app_integration_removed' | 'not found at Ring' | 'refused by Ring';
  /** Of the webhook that told us. */
  requestId?: string | undefined;
  /** When it happened at Ring. */
  occurredAt: Date;
  now: Date;
}

/** SQL: the last known state of the devices with their schedules. Binds a scope. */
const DEVICES = `
  SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
           'id', device.id, 'name', device.name, 'online', device.online, 'online_at', device.online_at,
           'capabilities', device.capabilities, 'configurations', device.configurations, 'location', device.location,
           'added_at', device.added_at, 'fetched_at', device.fetched_at, 'removed_at', device.removed_at,
           'scheduled_operations', (
             SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                      'kind', kind, 'frequency', frequency, 'time_of_day', time_of_day, 'time_zone', time_zone,
                      'status', status, 'created_at', created_at, 'last_run_at', last_run_at)) ORDER BY created_at, id)
               FROM scheduled_operations
              WHERE account_id = device.account_id AND device_id = device.id))) ORDER BY device.id), '[]')
    FROM devices AS device
   WHERE device.account_id = ? AND device.id = coalesce(?, device.id)`;

/** SQL: how many rows there are of what will be erased. Binds the scope three times. */
const COUNTS = `
  SELECT coalesce(jsonb_object_agg(what, number), '{}')
    FROM (SELECT type AS what, count(*) AS number FROM device_events
           WHERE ${IN_SCOPE} GROUP BY type
          UNION ALL
          SELECT 'snapshots', count(*) FROM snapshots WHERE ${IN_SCOPE}
          UNION ALL
          SELECT 'live_views', count(*) FROM live_views WHERE ${IN_SCOPE}) AS counted`;

/**
 * Writes down who ends what, when, why, and what there was: everything that may be asked about a removal later, and
 * nothing that should not outlive it (no token, no picture, no e-mail in the clear). Always in the transaction that erases,
 * and before it does.
 *
 * @throws when there is no link that it could be a part of: then nothing may be erased
 */
export async function archive(trx: Knex, removal: Removal): Promise<void> {
  const { accountId, kind, deviceId = null, reason, requestId = null, occurredAt, now } = removal;
  const scope = bindScope(removal);
  const archived = await row(
    trx,
    `INSERT INTO audit_archive (user_id, link_id, account_id, account_identifier, kind, device_id, occurred_at,
                                archived_at, reason, request_id, devices, counts)
     SELECT user_id, id, account_id, account_identifier, ?, ?, ?, ?, ?, ?, (${DEVICES}), (${COUNTS})
       FROM account_links
      WHERE account_id = ? AND ${IS_LIVE}
     RETURNING 1`,
    [kind, deviceId, occurredAt, now, reason, requestId, ...scope, ...scope, ...scope, ...scope, accountId],
  );
  if (archived === undefined) throw new Error('a removal could not be archived: the account has no link');
}

const BATCH = 1_000;

/** Erases what has been kept for long enough. Safe on every instance at once: the rows that one has are not another's. */
export async function purgeArchive({ db, clock }: Pick<Core, 'db' | 'clock'>, retentionDays: number): Promise<void> {
  const oldest = new Date(clock().getTime() - retentionDays * 86_400_000);
  let purged: number;
  do {
    const result = await db.raw<{ rowCount: number }>(
      `DELETE FROM audit_archive WHERE id IN
         (SELECT id FROM audit_archive WHERE archived_at < ? ORDER BY archived_at LIMIT ? FOR UPDATE SKIP LOCKED)`,
      [oldest, BATCH],
    );
    purged = result.rowCount;
  } while (purged === BATCH);
}
