import type { Tables } from '../../../src/database/tables.js';
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

/** Waits until every job that is due is done. */
export async function untilIdle(world: Pick<World, 'sql'>): Promise<void> {
  await until('the queue is idle', async () => {
    const due = await world.sql(
      `SELECT 1 FROM graphile_worker.jobs WHERE run_at <= now() AND (attempts < max_attempts OR locked_at IS NOT NULL)`,
    );
    return due.length === 0;
  });
}

/** Locks what the app holds of this account, so that nothing of it changes until the lock is released. */
export function holdAccount(world: Pick<World, 'databaseUrl'>, { account_id }: RingUser): Promise<() => Promise<void>> {
  return holdLock(world, 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [account_id]);
}
