import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { storedEvents } from '../support/features/history.js';
import { arriving, installed, newEmail, once, PASSWORD } from '../support/features/linking.js';
import { createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { until } from '../support/waiting/until.js';

let world: ProcessWorld;
beforeAll(async () => {
  world = await createProcessWorld();
});
afterAll(() => world.stop());

test('a history whose reader is killed between two pages is read to its end, and each event is one', async () => {
  await world.ring.setSettings({ historyPageSize: 1 });
  const first = await world.startApp();
  const ringUser = await installed(world, await world.ring.createUser({ devices: [{ name: 'Front Door' }] }));
  const visitor = await arriving(world, ringUser);
  await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });
  await untilJobsAreDone(world);
  first.kill('SIGKILL');
  await first.ended;

  // Nobody serves for a while, in which something happens.
  const begin = Date.now();
  for (const index of [0, 1, 2]) {
    await world.ring.record({ user_id: ringUser.id, start: begin + index, end: begin + index + 1_000 });
  }
  await world.sql(
    `INSERT INTO service_presence (seen_at) VALUES (now() - interval '100 seconds')
     ON CONFLICT (is_only) DO UPDATE SET seen_at = excluded.seen_at`,
  );
  // The first page is answered, and the second one never.
  await world.ring.setFaults([
    once('history', { kind: 'delay', ms: 0 }),
    { endpoint: 'history', fault: { kind: 'hold' } },
  ]);
  const before = await historyCalls();
  const second = await world.startApp();
  await until('the second page is asked for', async () => (await historyCalls()) - before === 2);
  expect(await storedEvents(world, ringUser)).toHaveLength(1);

  second.kill('SIGKILL');
  await second.ended;
  await world.ring.release();
  const between = await historyCalls();
  await world.startApp();
  await until('nothing is missing', async () => {
    const missing = await world.sql('SELECT 1 FROM device_histories WHERE missing_since IS NOT NULL');
    return missing.length === 0;
  });
  expect((await storedEvents(world, ringUser)).map(({ at }) => at - begin)).toEqual([0, 1, 2]);
  // The first page is not read again.
  expect((await historyCalls()) - between).toBe(2);
});

async function historyCalls(): Promise<number> {
  const requests = await world.ring.requests();
  return requests.filter(({ path }) => path.startsWith('/v1/history/')).length;
}
