import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sharing } from '../support/devices.js';
import { startWorld, type World } from '../support/world.js';

const MOST_BYTES = 60_000;

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

test('a page stays small however many zones with however many corners Ring tells of', async () => {
  const corner = (n: number) => ({ x: (n * 0.618_033_988_7) % 1, y: (n * 0.754_877_666_2) % 1 });
  const zones = () =>
    Array.from({ length: 100 }, () => ({
      id: randomUUID(),
      vertices: Array.from({ length: 200 }, (_, index) => corner(index)),
    }));
  const { visitor, path } = await sharing(world, {
    configurations: {
      motion_detection: { enabled: 'on', motion_zones: zones() },
      image_enhancements: { privacy_zones: zones() },
    },
  });

  const { status, text } = await visitor.open(path);

  expect(status).toBe(200);
  expect(text).toContain('Zones');
  expect(Buffer.byteLength(text)).toBeLessThan(MOST_BYTES);
});
