import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { columnsOf, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import { isLive } from '../ring-accounts/link-conditions.js';

export interface Removal extends DeviceScope {
  kind: Exclude<Tables['audit_archive']['kind'], 'ACCOUNT_DELETED'>;
  /** The webhook that told us, or Ring's answer when we asked. */
  reason: 'device_removed' | 'app_integration_removed' | 'not found at Ring' | 'refused by Ring';
  /** The ID of the webhook that told us. */
  requestId?: string | undefined;
  /** When it happened at Ring. */
  occurredAt: Date;
  now: Date;
}

/** SQL: the last known state of the devices with their schedules. */
const lastKnown = ({ accountId, deviceId }: DeviceScope): Sql => sql`
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
   WHERE device.account_id = ${accountId} AND device.id = coalesce(${deviceId ?? null}, device.id)`;

/** SQL: the numbers of rows that a removal will erase. */
const countsOf = (scope: DeviceScope): Sql => sql`
  SELECT coalesce(jsonb_object_agg(what, number), '{}')
    FROM (SELECT type AS what, count(*) AS number FROM device_events
           WHERE ${inScope(scope)} GROUP BY type
          UNION ALL
          SELECT 'snapshots', count(*) FROM snapshots WHERE ${inScope(scope)}
          UNION ALL
          SELECT 'live_views', count(*) FROM live_views WHERE ${inScope(scope)}) AS counted`;

/**
 * Archives a removal: who, what, when, why, and what there was. That is everything that may be asked about it later, and
 * nothing that should not outlive it (no token, no picture, no e-mail address in the clear). The caller erases in the same
 * transaction, after this.
 *
 * @throws when there is no link that it could be a part of: then nothing may be erased
 */
export async function archiveRemoval(trx: Knex.Transaction, removal: Removal): Promise<void> {
  const { accountId, kind, deviceId = null, reason, requestId = null, occurredAt, now } = removal;
  const { names, values } = columnsOf<'audit_archive'>({
    user_id: sql`user_id`,
    link_id: sql`id`,
    account_id: sql`account_id`,
    account_identifier: sql`account_identifier`,
    kind,
    device_id: deviceId,
    occurred_at: occurredAt,
    archived_at: now,
    reason,
    request_id: requestId,
    devices: sql`(${lastKnown(removal)})`,
    counts: sql`(${countsOf(removal)})`,
  });
  const archived = await run(
    trx,
    sql`INSERT INTO audit_archive (${names}) SELECT ${values} FROM account_links
         WHERE account_id = ${accountId} AND ${isLive()}`,
  );
  if (archived === 0) throw new Error('a removal could not be archived: the account has no link');
}

/**
 * Makes a user's rows anonymous, because the user is being deleted. What remains is kinds, times, numbers, and random UUIDs of
 * ours whose rows are gone. Ring's account ID is not kept, not even hashed, because the hash of a known ID could be looked up.
 */
export async function anonymizeArchive(trx: Knex.Transaction, userId: string, now: Date): Promise<void> {
  await run(
    trx,
    sql`UPDATE audit_archive
           SET erased_at = ${now}, account_id = NULL, account_identifier = NULL, device_id = NULL, request_id = NULL,
               devices = '[]'
         WHERE user_id = ${userId} AND erased_at IS NULL`,
  );
}

/** SQL: the numbers of rows that the deletion of a user will erase. */
const countsOfUser = (userId: string, accountIds: readonly string[]): Sql => sql`
  WITH own AS (SELECT unnest(${accountIds}::text[]) AS account_id)
  SELECT jsonb_build_object(
           'account_links', (SELECT count(*) FROM account_links WHERE user_id = ${userId}),
           'devices', (SELECT count(*) FROM devices JOIN own USING (account_id)),
           'device_events', (SELECT count(*) FROM device_events JOIN own USING (account_id)),
           'snapshots', (SELECT count(*) FROM snapshots JOIN own USING (account_id)),
           'subscriptions', (SELECT count(*) FROM subscriptions JOIN own USING (account_id)),
           'live_views', (SELECT count(*) FROM live_views WHERE user_id = ${userId}),
           'scheduled_operations', (SELECT count(*) FROM scheduled_operations WHERE user_id = ${userId}))`;

/**
 * Archives that a user was deleted, when, and how much there was. The row is anonymous from the start. The caller erases in
 * the same transaction, after this.
 *
 * @param accountIds the Ring accounts of which everything is erased
 */
export async function archiveDeletion(
  trx: Knex.Transaction,
  userId: string,
  accountIds: readonly string[],
  now: Date,
): Promise<void> {
  const { names, values } = columnsOf<'audit_archive'>({
    user_id: userId,
    kind: 'ACCOUNT_DELETED',
    occurred_at: now,
    archived_at: now,
    erased_at: now,
    reason: 'deleted by its user',
    devices: '[]',
    counts: sql`(${countsOfUser(userId, accountIds)})`,
  });
  await run(trx, sql`INSERT INTO audit_archive (${names}) VALUES (${values})`);
}

const BATCH = 1_000;

/** Purges rows that have been kept for long enough. Instances may do it side by side: each takes rows of its own. */
export async function purgeArchive({ db, clock }: Pick<Core, 'db' | 'clock'>, retentionDays: number): Promise<void> {
  const oldest = new Date(clock().getTime() - retentionDays * 86_400_000);
  let purged: number;
  do {
    purged = await run(
      db,
      sql`DELETE FROM audit_archive WHERE id IN
            (SELECT id FROM audit_archive WHERE archived_at < ${oldest}
              ORDER BY archived_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)`,
    );
  } while (purged === BATCH);
}
