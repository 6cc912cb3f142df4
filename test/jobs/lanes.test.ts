import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sharing } from '../support/features/devices.js';
import { inboxOf } from '../support/features/inbox.js';
import { installed } from '../support/features/linking.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { WAIT_LIMIT_MS } from '../support/waiting/limits.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

const HANGING = 5;

let world: World;
beforeAll(async () => {
  world = await startWorld({ ringTimeoutMs: WAIT_LIMIT_MS });
});
afterAll(() => world.stop());

async function countHangingPictures(): Promise<number> {
  const requests = await world.ring.requests();
  return requests.filter(({ path, status }) => path.endsWith('/media/image/download') && status === null).length;
}

test('pictures that Ring lets hang do not delay removals, nor users who link', async () => {
  const [owner, leaving] = await Promise.all([sharing(world), sharing(world)]);
  const { ringUser, visitor, path, csrfToken } = owner;
  await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
  // Forty due schedules, as if forty users had one each.
  await world.sql(
    `INSERT INTO scheduled_operations (id, user_id, link_id, account_id, device_id, kind, frequency, status, next_run_at,
                                       created_at)
     SELECT gen_random_uuid(), user_id, link_id, account_id, device_id, kind, frequency, status, next_run_at, created_at
       FROM scheduled_operations, generate_series(1, 40) WHERE account_id = $1`,
    [ringUser.account_id],
  );
  await world.ring.setFaults([{ endpoint: 'image', fault: { kind: 'hold' } }]);
  world.clock.advance(3_600);
  await tick('start due snapshots');
  await until('pictures hang', async () => (await countHangingPictures()) >= HANGING);

  await world.ring.sendEvent({ user_id: leaving.ringUser.id, type: 'device_removed', device_id: leaving.device.id });
  await until('the removal is applied', async () =>
    (await inboxOf(world, leaving.ringUser)).some(({ status }) => status === 'PROCESSED'),
  );
  await installed(world);

  // None of them has ended meanwhile.
  expect(await countHangingPictures()).toBe(HANGING);
  await world.sql('DELETE FROM scheduled_operations');
  await world.ring.release();
  await untilJobsAreDone(world, 'take_snapshot');
});
