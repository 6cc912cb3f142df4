import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { passPauses } from '../support/waiting/jobs.js';
import { type AppProcess, createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import { until } from '../support/waiting/until.js';

let world: ProcessWorld;
let app: AppProcess;
beforeAll(async () => {
  world = await createProcessWorld();
  app = await world.startApp();
});
afterAll(() => world.stop());

/** Whether Ring has been asked for a picture, and has not answered yet. */
async function isAsking({ ringUser }: Owner): Promise<boolean> {
  const requests = await world.ring.requests();
  return requests.some(
    ({ account_id, path, status }) =>
      account_id === ringUser.account_id && path.endsWith('/media/image/download') && status === null,
  );
}

async function killAndStartAgain(): Promise<void> {
  app.kill('SIGKILL');
  await app.ended;
  app = await world.startApp();
}

test('a picture that is awaited comes although its process is killed, as it waits and as it asks', async () => {
  const owner = await sharing(world);
  const { visitor, ringUser, device, path } = owner;
  const notReady = { endpoint: 'media', fault: { kind: 'status', status: 425 } } as const;
  await world.ring.setFaults([notReady]);
  await visitor.open(path);
  await visitor.submit(`${path}/snapshots`);
  expect(visitor.page.text).toContain('The recording is not ready at Ring yet.');

  await killAndStartAgain();
  await visitor.open(path);
  expect(visitor.page.text).toContain('The recording is not ready at Ring yet.');

  await world.ring.record({ user_id: ringUser.id, device_id: device.id });
  await world.ring.setFaults([{ endpoint: 'image', fault: { kind: 'hold' } }]);
  await passPauses(world);
  await until('a job asks', () => isAsking(owner));
  await killAndStartAgain();
  await world.ring.release();

  await until('the picture is there', async () => {
    const pictures = await world.sql('SELECT 1 FROM snapshots WHERE account_id = $1', [ringUser.account_id]);
    return pictures.length === 1;
  });
  await visitor.open(path);
  expect(visitor.page.text).not.toContain('not ready');
  expect(visitor.page.text.match(/<img /g)).toHaveLength(1);
});
