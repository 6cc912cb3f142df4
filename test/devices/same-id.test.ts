import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sharing } from '../support/devices.js';
import { untilIdle, untilProcessed } from '../support/inbox.js';
import { arriving, installed, untilLink } from '../support/linking.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

test('of two Ring accounts that share the ID of a device, its page tells what happened at that one', async () => {
  const id = `device-${randomUUID()}`;
  const { visitor, path } = await sharing(world, { id, name: 'First Door' });
  world.clock.advance(1);
  const second = await world.ring.createUser({ devices: [{ id, name: 'Second Door' }] });
  await arriving(world, await installed(world, second), visitor);
  await visitor.submit('/ring/link');
  await untilLink(world, second, 'COMPLETED');
  await untilIdle(world);
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: second.id, type: 'button_press', device_id: id });
  await untilProcessed(world, second);

  await visitor.open(path);

  expect(visitor.heading).toContain('First Door');
  expect(visitor.page.text).not.toContain('Somebody rang the doorbell');
});
