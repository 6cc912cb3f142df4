import { isNothingLeft } from '../features/inbox.js';
import type { World } from '../worlds/world.js';
import { until } from './until.js';

/** Skips the pauses between attempts: every waiting job is due now. */
export async function passPauses(world: Pick<World, 'sql'>): Promise<void> {
  await world.sql(`SELECT graphile_worker.reschedule_jobs(array_agg(id), run_at => now())
                     FROM graphile_worker.jobs WHERE locked_at IS NULL`);
  await world.sql(`SELECT pg_notify('jobs:insert', '{"count":1}')`);
}

/**
 * Waits until no job of this task is left, no matter how long it would have paused. Without a task: no job at all, and no event
 * that can be applied now.
 */
export function untilJobsAreDone(world: Pick<World, 'sql'>, task?: string): Promise<boolean> {
  return until(`no job ${task ?? 'at all'} is left`, async () => {
    const jobs = await world.sql(
      'SELECT 1 FROM graphile_worker.jobs WHERE task_identifier = coalesce($1, task_identifier)',
      [task],
    );
    if (jobs.length === 0) return task !== undefined || isNothingLeft(world);
    await passPauses(world);
    return false;
  });
}
