import type { RingUser } from '../worlds/ring.js';
import { untilJobsAreDone } from '../waiting/jobs.js';
import { tick } from '../waiting/periodic-tasks.js';
import { until } from '../waiting/until.js';
import type { World } from '../worlds/world.js';

/** An event as the table has it. */
export interface StoredEvent {
  device_id: string;
  type: string;
  subtype: string | null;
  /** Epoch ms. */
  at: number;
}

/** The motions and presses that the app knows of, oldest first. */
export async function storedEvents(world: Pick<World, 'sql'>, { account_id }: RingUser): Promise<StoredEvent[]> {
  const found = await world.sql<Omit<StoredEvent, 'at'> & { occurred_at: Date }>(
    `SELECT device_id, type, subtype, occurred_at FROM device_events
      WHERE account_id = $1 AND type IN ('motion_detected', 'button_press')
      ORDER BY occurred_at, device_id, type`,
    [account_id],
  );
  return found.map(({ occurred_at, ...event }) => ({ ...event, at: occurred_at.getTime() }));
}

/** Lets the last sign of any instance be so old, in seconds, and then this one notice it. */
export async function silentFor(world: Pick<World, 'sql'>, seconds: number): Promise<void> {
  await world.sql(
    `INSERT INTO service_presence (seen_at) VALUES (now() - $1 * interval '1 second')
     ON CONFLICT (is_only) DO UPDATE SET seen_at = excluded.seen_at`,
    [seconds],
  );
  await tick('note presence');
  await until('an instance has said that it serves', async () => {
    const seen = await world.sql(`SELECT 1 FROM service_presence WHERE seen_at > now() - interval '45 seconds'`);
    return seen.length === 1;
  });
}

/** Waits until every history is read that is to be read now. */
export async function untilHistoryIsRead(world: Pick<World, 'sql'>): Promise<void> {
  await untilJobsAreDone(world, 'note_missed_time_of_all');
  await untilJobsAreDone(world, 'note_missed_time');
  await untilJobsAreDone(world, 'read_history');
}
