import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { holdAccount, untilApplied } from '../support/features/inbox.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** Events that wait together are applied by statements that many share. They leave what they leave one by one. */

const TYPES = [
  'motion_detected',
  'button_press',
  'device_online',
  'device_offline',
  'device_online',
  'device_offline',
  'contact_sensor_faulted',
  'contact_sensor_cleared',
  'device_added',
  'device_removed',
];
const EVENTS = 25;

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

interface Happening {
  type: string;
  /** One that the app knows, or one that it doesn't. */
  device: 'known' | 'unknown';
  secondsAgo: number;
}

/** Always the same for a seed. The times often run backwards, and some are equal. */
function happeningsOf(seed: number): Happening[] {
  let state = seed;
  const below = (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % limit;
  };
  return Array.from({ length: EVENTS }, () => ({
    type: TYPES[below(TYPES.length)] ?? '',
    device: below(2) === 0 ? 'known' : 'unknown',
    secondsAgo: below(10),
  }));
}

async function send({ ringUser, device }: Owner, happening: Happening): Promise<void> {
  const event = newEvent({
    accountId: ringUser.account_id,
    deviceId: happening.device === 'known' ? device.id : 'unknown',
    type: happening.type,
    timestamp: world.clock.now().getTime() - happening.secondsAgo * 1_000,
  });
  expect((await deliver(world.url, JSON.stringify(event))).status).toBe(200);
}

/** What is left of the events, the same for every account. */
async function leftOf({ ringUser, device }: Owner): Promise<object> {
  const select = (columns: string, table: string) =>
    world.sql<Record<string, unknown>>(`SELECT ${columns} FROM ${table} WHERE account_id = $1 ORDER BY 1, 2, 3`, [
      ringUser.account_id,
    ]);
  const name = (column: string) => `CASE ${column} WHEN '${device.id}' THEN 'known' ELSE ${column} END AS device`;
  return {
    devices: await select(
      `${name('id')}, online, online_at, online_since, is_doorbell, sensors, added_at, removed_at, void_before`,
      'devices',
    ),
    events: await select(`${name('device_id')}, occurred_at, type, subtype`, 'device_events'),
    archive: await select(`${name('device_id')}, occurred_at, kind, counts`, 'audit_archive'),
    inbox: await select(`id, status, body IS NULL AS is_erased`, 'webhook_events').then((rows) =>
      rows.map(({ status, is_erased }) => ({ status, is_erased })),
    ),
  };
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])('events at random, seed %d', async (seed) => {
  const [oneByOne, together] = [await sharing(world), await sharing(world)];
  // Ring's answers would come at different times.
  const away = { kind: 'status', status: 503 };
  await world.ring.setFaults([
    { endpoint: 'device', fault: away },
    { endpoint: 'device-resource', fault: away },
  ]);
  const happenings = happeningsOf(seed);

  for (const happening of happenings) {
    await send(oneByOne, happening);
    await untilApplied(world, oneByOne.ringUser);
  }
  const release = await holdAccount(world, together.ringUser);
  for (const happening of happenings) await send(together, happening);
  await release();
  await untilApplied(world, together.ringUser);

  expect(await leftOf(together)).toEqual(await leftOf(oneByOne));
  await world.ring.setFaults([]);
});
