import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { send } from '../support/clients/http.js';
import { hiddenFields } from '../support/clients/visitor.js';
import { newEvent, PATH, sign } from '../support/clients/webhooks.js';
import { sharing } from '../support/features/devices.js';
import { arriving, installed, once, signedIn, untilLink } from '../support/features/linking.js';
import { refreshesOf } from '../support/features/tokens.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

/** Ring's endpoints that were called on behalf of a request, in order. */
async function callsFor(requestId: string): Promise<string[]> {
  const requests = await world.ring.requests();
  return requests.filter(({ request_id }) => request_id === requestId).map(({ method, path }) => `${method} ${path}`);
}

const linesFor = (requestId: string): Record<string, unknown>[] =>
  world.log
    .filter((line) => line.includes(requestId))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ request }) => request === requestId);

describe('the id of a request', () => {
  test('is in its answer and in its log line, and another one each time', async () => {
    const ids = await Promise.all(
      ['/ring/home', '/nowhere', '/readyz'].map(async (path) => {
        const { headers } = await fetch(world.url + path);
        return headers.get('x-request-id') ?? '';
      }),
    );

    expect(new Set(ids).size).toBe(3);
    await until('all are logged', () => Promise.resolve(ids.every((id) => linesFor(id).length > 0)));
    expect(linesFor(ids[0] ?? '')).toMatchObject([{ method: 'GET', path: '/ring/home', status: 200 }]);
  });

  test('goes with the code exchange to Ring, and with the job that looks up the account of the pair, and its retry', async () => {
    await world.ring.setFaults([once('users-me', { kind: 'status', status: 503 })]);
    const { code } = await world.ring.issueCode(await world.ring.createUser());

    const response = await fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });

    const id = response.headers.get('x-request-id') ?? '';
    await until('Ring is asked again', async () => (await callsFor(id)).length === 3);
    expect(await callsFor(id)).toEqual(['POST /oauth/token', 'GET /v1/users/me', 'GET /v1/users/me']);
    expect(linesFor(id).map(({ msg }) => msg)).toContain('the account of a token pair is not known yet; trying again');
  });

  test('of the click that links goes with all that follows from the link', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));

    const form = hiddenFields(visitor.page.text, '/ring/link');
    const clicked = await send(world.url, '/ring/link', { cookie: visitor.cookie, form });
    await untilLink(world, ringUser, 'COMPLETED');

    const id = clicked.headers.get('x-request-id') ?? '';
    await until('the devices are fetched', async () => (await callsFor(id)).includes('GET /v1/devices'));
    expect((await callsFor(id)).slice(0, 2)).toEqual([
      'POST /v1/accounts/me/app-integrations',
      'PATCH /v1/accounts/me/app-integrations',
    ]);
  });

  test('of a webhook is the one that Ring gave it, and goes with what the event causes', async () => {
    const { ringUser, device } = await sharing(world);
    const requestId = randomUUID();
    const event = newEvent({
      accountId: ringUser.account_id,
      deviceId: device.id,
      type: 'device_added',
      requestId,
      timestamp: world.clock.now().getTime() + 1,
    });
    const body = JSON.stringify(event);

    const { status } = await fetch(world.url + PATH, { method: 'POST', body, headers: { 'x-signature': sign(body) } });

    expect(status).toBe(200);
    await until('Ring is asked about the device', async () => (await callsFor(requestId)).length === 1);
    expect(await callsFor(requestId)).toEqual([`GET /v1/devices/${device.id}`]);
    await until('it is logged', () => Promise.resolve(linesFor(requestId).length > 0));
    expect(linesFor(requestId)).toContainEqual(expect.objectContaining({ path: PATH, status: 200 }));
  });

  test('that is claimed by an unsigned webhook is not taken', async () => {
    const event = newEvent();
    await fetch(world.url + PATH, {
      method: 'POST',
      body: JSON.stringify(event),
      headers: { 'x-signature': 'sha256=0' },
    });

    await until('it is logged', () =>
      Promise.resolve(world.log.some((line) => line.includes(PATH) && line.includes('"status":401'))),
    );
    expect(linesFor(event.meta.request_id)).toEqual([]);
  });

  test('is made for each run of a periodic task', async () => {
    const { ringUser } = await sharing(world);
    world.clock.advance(25 * 60 * 60);

    await tick('refresh tokens');

    const refresh = await until('the pair is refreshed', async () => (await refreshesOf(world, ringUser))[0] ?? false);
    expect(refresh.request_id).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('the log', () => {
  test('names a Ring account by its last characters alone', async () => {
    const { ringUser, device } = await sharing(world);
    await world.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN RAISE EXCEPTION 'a mistake of ours'; END $$`);
    await world.sql('CREATE TRIGGER refuse BEFORE INSERT ON device_events FOR EACH ROW EXECUTE FUNCTION refuse()');
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'button_press', device_id: device.id });

    const failed = await until('the event fails', () =>
      Promise.resolve(world.log.find((line) => line.includes('a webhook event could not be applied'))),
    );
    await world.sql('DROP FUNCTION refuse CASCADE');

    expect(JSON.parse(failed)).toMatchObject({ account: `…${ringUser.account_id.slice(-6)}`, type: 'button_press' });
    expect(world.log.join('')).not.toContain(ringUser.account_id);
  });
});
