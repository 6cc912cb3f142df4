import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createBodies, HungUpError } from '../../src/http/bodies.js';
import { HttpError } from '../../src/http/errors.js';

const LIMITS = { limit: 10, mostHeld: 25, mostHeldOfSender: 15 };

let server: Server;
let origin: string;
/** Lets go of the bodies that are held, the first one first. */
const held: (() => void)[] = [];
let failure: Promise<unknown>;

beforeAll(async () => {
  const bodies = createBodies(LIMITS);
  server = createServer((incoming, response) => {
    const sender = String(incoming.headers['x-sender']);
    const used = bodies.use(incoming, sender, async (body) => {
      if (incoming.url === '/held') await new Promise<void>((resolve) => held.push(resolve));
      return body.toString();
    });
    failure = used.then(
      () => undefined,
      (error: unknown) => error,
    );
    used.then(
      (text) => response.end(text),
      (error: unknown) => {
        const { status, headers } = error instanceof HttpError ? error : { status: 500, headers: {} };
        response.writeHead(status, headers).end();
      },
    );
  }).listen(0);
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
});

const send = (body: string, path = '/', headers = {}) => fetch(origin + path, { method: 'POST', body, headers });

test('a body is handed over as it was sent, also an empty one', async () => {
  expect(await (await send('0123456789')).text()).toBe('0123456789');
  expect(await (await send('')).text()).toBe('');
});

test('a body that is too large is answered 413, one that is compressed 415', async () => {
  expect((await send('01234567890')).status).toBe(413);
  expect((await send('0123', '/', { 'content-encoding': 'br' })).status).toBe(415);
});

test('while too much is held a body is answered 503 with the time to try again, and is taken later', async () => {
  const first = send('0123456789', '/held');
  while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));

  const refused = await send('0123456789');
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
  expect(await (await send('01234')).text()).toBe('01234');

  held.shift()?.();
  expect(await (await first).text()).toBe('0123456789');
  expect(await (await send('0123456789')).text()).toBe('0123456789');
});

test('one sender can’t take all the room, and all of them together no more than there is', async () => {
  const from = (sender: string, path?: string) => send('0123456789', path, { 'x-sender': sender });
  const isHeld = async (count: number) => {
    while (held.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  const first = from('one', '/held');
  await isHeld(1);
  expect((await from('one')).status).toBe(503);
  const second = from('other', '/held');
  await isHeld(2);
  expect((await from('third')).status).toBe(503);

  for (const letGo of held.splice(0)) letGo();
  expect([(await first).status, (await second).status]).toEqual([200, 200]);
  expect((await from('third')).status).toBe(200);
});

test('a sender that hangs up in the middle is told from one that is refused, and leaves nothing held', async () => {
  for (let round = 0; round < 3; round++) {
    const received = once(server, 'request');
    const sent = request(`${origin}/`, { method: 'POST', headers: { 'content-length': 10 } });
    sent.on('error', () => undefined);
    sent.write('01234567');
    await received;
    sent.destroy();
    expect(await failure).toBeInstanceOf(HungUpError);
  }
  expect(await (await send('0123456789')).text()).toBe('0123456789');
});
