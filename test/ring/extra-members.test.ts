import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { recordNow, sharing } from '../support/features/devices.js';
import { linksOf } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { ACCESS_LIFETIME, HOUR, tokenOf } from '../support/features/tokens.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

const EXTRA = { introduced: '2027-01-01', nested: [{ id: 7, type: 'new' }], nothing: null };

let gateway: Server;
let world: World;
let extended = 0;

beforeAll(async () => {
  gateway = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { method = 'GET', url = '/', headers } = request;
      const { authorization, 'content-type': type } = headers;
      const answer = await fetch(world.ring.url + url, {
        method,
        redirect: 'manual',
        headers: { ...(authorization && { authorization }), ...(type && { 'content-type': type }) },
        ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
      });
      const body = Buffer.from(await answer.arrayBuffer());
      const isJson = (answer.headers.get('content-type') ?? '').includes('json');
      for (const [name, value] of answer.headers) {
        if (!/^(content-length|transfer-encoding|connection|keep-alive)$/.test(name)) response.setHeader(name, value);
      }
      response.statusCode = answer.status;
      response.end(isJson ? JSON.stringify(extend(JSON.parse(body.toString()))) : body);
    })();
  }).listen(0, '127.0.0.1');
  await once(gateway, 'listening');
  const url = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  world = await startWorld({ environment: { RING_OAUTH_URL: url, RING_API_URL: url } });
});
afterAll(async () => {
  await world.stop();
  gateway.close();
});

/** Every object in an answer of Ring's gets unknown members. */
function extend(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(extend);
  if (typeof value !== 'object' || value === null) return value;
  extended += 1;
  return { ...Object.fromEntries(Object.entries(value).map(([name, one]) => [name, extend(one)])), ...EXTRA };
}

test('Ring may say more than is known today: linking, devices, pictures, live views and refreshes go on', async () => {
  const owner = await sharing(world);
  await untilJobsAreDone(world);
  expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
  expect(await world.ring.integrationOf(owner.ringUser)).toMatchObject({ status: 'completed' });

  await owner.visitor.open(owner.path);
  await owner.visitor.submit(`${owner.path}/scheduled-operations`, { frequency: 'HOURLY' });
  world.clock.advance(HOUR);
  await recordNow(world, owner);
  await tick('start due snapshots');
  await until('a picture is there', async () => (await world.sql('SELECT 1 FROM snapshots')).length === 1);

  world.clock.advance(ACCESS_LIFETIME);
  expect((await openLiveView(world.url, owner)).status).toBe(201);
  expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 1, refresh_state: 'FINE' });
  await untilJobsAreDone(world);
  expect(extended).toBeGreaterThan(10);
  expect(world.log.join('')).not.toContain('malformed');
});
