import type { Tables } from '../../../src/database/tables.js';
import type { Envelope } from '../clients/webhooks.js';
import { holdLock } from '../waiting/locks.js';
import { until } from '../waiting/until.js';
import type { RingUser } from '../worlds/ring.js';
import type { World } from '../worlds/world.js';

export type InboxRow = Tables['webhook_events'];

export function inboxOf(world: Pick<World, 'sql'>, { account_id }: RingUser): Promise<InboxRow[]> {
  return world.sql<InboxRow>('SELECT * FROM webhook_events WHERE account_id = $1 ORDER BY id', [account_id]);
}

/** Waits until no event of the account waits in the inbox. Jobs may go on. */
export async function untilApplied(world: Pick<World, 'sql'>, ringUser: RingUser): Promise<void> {
  await until('the inbox is processed', async () =>
    (await inboxOf(world, ringUser)).every(({ status }) => status !== 'PENDING'),
  );
}

/** Waits until no event of the account waits in the inbox, and no job is due. */
export async function untilProcessed(world: Pick<World, 'sql'>, ringUser: RingUser): Promise<void> {
  await untilApplied(world, ringUser);
  await untilIdle(world);
}

/** Waits until every job that is due is done, and every event is applied that can be applied now. */
export async function untilIdle(world: Pick<World, 'sql'>): Promise<void> {
  const areJobsDone = async () => {
    const due = await world.sql(
      `SELECT 1 FROM graphile_worker.jobs WHERE run_at <= now() AND (attempts < max_attempts OR locked_at IS NOT NULL)`,
    );
    return due.length === 0;
  };
  await until('the queue is idle', () => isNothingLeft(world, areJobsDone));
}

/** Whether there is no job, and no event that can be applied now. Each of the two can be the cause of the other. */
export async function isNothingLeft(
  world: Pick<World, 'sql'>,
  areJobsDone = async () => (await world.sql('SELECT 1 FROM graphile_worker.jobs')).length === 0,
): Promise<boolean> {
  return (await areEventsApplied(world)) && (await areJobsDone()) && (await areEventsApplied(world));
}

/** Whether no event waits for anything but a link, or the end of its pause. */
export async function areEventsApplied(world: Pick<World, 'sql'>): Promise<boolean> {
  const due = await world.sql(
    `SELECT 1 FROM webhook_events AS event
      WHERE status = 'PENDING' AND (retry_at IS NULL OR retry_at <= now())
        AND NOT EXISTS (SELECT 1 FROM webhook_events AS earlier
                         WHERE earlier.account_id = event.account_id AND earlier.status = 'PENDING'
                           AND earlier.id < event.id AND earlier.retry_at > now())
        AND (type = 'app_integration_removed'
             OR EXISTS (SELECT 1 FROM account_links AS link
                         WHERE link.account_id = event.account_id
                           AND (link.status IN ('COMPLETED', 'REAUTH_REQUIRED') OR link.removed_at > event.occurred_at)))
      LIMIT 1`,
  );
  return due.length === 0;
}

/** Locks what the app holds of this account, so that nothing of it changes until the lock is released. */
export function holdAccount(world: Pick<World, 'databaseUrl'>, { account_id }: RingUser): Promise<() => Promise<void>> {
  return holdLock(world, 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [account_id]);
}

/** Stores events as an instance does that dies before it has applied them. */
export async function leaveBehind(world: Pick<World, 'sql'>, ...events: Envelope[]): Promise<void> {
  await world.sql(
    `INSERT INTO webhook_events (request_id, account_id, type, device_id, status, body, occurred_at, received_at)
     SELECT (event #>> '{meta,request_id}')::uuid, event #>> '{meta,account_id}', event #>> '{data,type}',
            event #>> '{data,attributes,source}', 'PENDING', event::text,
            to_timestamp((event #>> '{data,attributes,timestamp}')::float / 1000), now()
       FROM json_array_elements($1::json) WITH ORDINALITY AS element (event, place) ORDER BY place`,
    [JSON.stringify(events)],
  );
}
