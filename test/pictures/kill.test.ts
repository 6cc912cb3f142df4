import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/devices.js';
import { passPauses } from '../support/jobs.js';
import { type AppProcess, createProcessWorld, type ProcessWorld } from '../support/process.js';
import { until } from '../support/until.js';

let world: ProcessWorld;
let app: AppProcess;
beforeAll(async () => {
  world = await createProcessWorld();
  app = await world.startApp();
});
afterAll(() => world.stop());

async function callsOf({ ringUser }: Owner, path: RegExp): Promise<number> {
  const requests = await world.ring.requests();
  return requests.filter((one) => one.account_id === ringUser.account_id && path.test(one.path)).length;
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
  const start = Date.now() - 1_000;
  // The newest frame has to be one of the time since the consent, which begins later by what the clocks may be apart.
  await world.sql(`UPDATE ring_tokens SET created_at = created_at - interval '1 minute' WHERE account_id = $1`, [
    ringUser.account_id,
  ]);
  await world.ring.setFaults([notReady]);
  await visitor.open(path);
  await visitor.submit(`${path}/snapshots`);
  expect(visitor.page.text).toContain('The recording is not ready at Ring yet.');

  await killAndStartAgain();
  await visitor.open(path);
  expect(visitor.page.text).toContain('The recording is not ready at Ring yet.');

  await world.ring.record({ user_id: ringUser.id, device_id: device.id, start, end: start });
  await world.ring.setFaults([{ endpoint: 'image', fault: { kind: 'hold' } }]);
  await passPauses(world);
  const before = await callsOf(owner, /image\/download$/);
  await until('a job asks', async () => (await callsOf(owner, /image\/download$/)) >= Math.max(2, before));
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
