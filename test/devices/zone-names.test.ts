import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sharing } from '../support/devices.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

test('a schedule is never made in a time zone in whose spelling it would not run', async () => {
  const { visitor, path, csrfToken, ringUser } = await sharing(world);

  await visitor.post(`${path}/scheduled-operations`, {
    _csrf: csrfToken,
    frequency: 'DAILY',
    time_of_day: '07:30',
    time_zone: 'europe/berlin',
  });

  const made = await world.sql<{ runs: boolean }>(
    `SELECT time_zone IN (SELECT name FROM pg_timezone_names) AS runs FROM scheduled_operations WHERE account_id = $1`,
    [ringUser.account_id],
  );
  expect([visitor.page.status, made]).toEqual(made.length === 0 ? [400, []] : [200, [{ runs: true }]]);
});
