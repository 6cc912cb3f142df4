import { afterEach, beforeAll, afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { send } from '../support/clients/http.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { isNothingLeft } from '../support/features/inbox.js';
import {
  arriving,
  cards,
  installed,
  linksOf,
  newEmail,
  once,
  pairsOf,
  PASSWORD,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { refreshesOf, tokenOf } from '../support/features/tokens.js';
import { scrape } from '../support/inspection/metrics.js';
import { until } from '../support/waiting/until.js';
import { type AppProcess, createProcessWorld, type ProcessWorld, statusOf } from '../support/worlds/process.js';
import type { RingUser } from '../support/worlds/ring.js';
import { type SmallDisk, startSmallDisk } from '../support/worlds/small-disk.js';

let disk: SmallDisk;
let world: ProcessWorld;
let app: AppProcess;
let owner: Owner;
let logged = 0;

beforeAll(async () => {
  disk = await startSmallDisk();
  world = await createProcessWorld({ databaseUrl: disk.databaseUrl });
  // Ring's pauses between its attempts are a twentieth as long.
  await world.ring.setSettings({ webhookSpeed: 20 });
  app = await world.startApp();
  owner = await sharing(world);
});
beforeEach(() => {
  logged = app.stdout().length;
});
afterEach(async () => {
  await disk.makeRoom();
  await world.ring.setFaults([]);
  expect(app.hasEnded()).toBe(false);
});
afterAll(async () => {
  await world.stop();
  await disk.remove();
});

const log = () => app.stdout().slice(logged);
const untilLogged = (text: string) => until(`the log tells: ${text}`, () => Promise.resolve(log().includes(text)));

describe('while the disk of Postgres is full,', () => {
  test('the process lives, and signed-in users can read', async () => {
    await owner.visitor.open('/ring/home');
    await disk.fill();

    expect(await statusOf(`${world.url}/livez`)).toBe(200);
    await owner.visitor.open('/ring/home');
    expect(owner.visitor.page.status).toBe(200);
    expect(cards(owner.visitor)).toEqual(['Linked']);
    expect(owner.visitor.page.text).toContain(owner.device.name);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.status).toBe(200);
  });

  test('signed-in users can read also when not even the end of the session can be put off', async () => {
    await disk.fill();
    await world.sql(`CREATE FUNCTION refuse_touch() RETURNS trigger LANGUAGE plpgsql AS $$
                     BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file'; END $$`);
    await world.sql('CREATE TRIGGER touch BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION refuse_touch()');
    try {
      for (let visit = 0; visit < 5; visit++) {
        await owner.visitor.open('/ring/home');
        expect(owner.visitor.page.status).toBe(200);
        expect(cards(owner.visitor)).toEqual(['Linked']);
      }
    } finally {
      await world.sql('DROP FUNCTION refuse_touch CASCADE');
    }
    // The error goes through the log like every other one.
    expect(log()).toContain('53100');
    expect(app.stderr()).toBe('');
  });

  test('visitors who come anew, sign up or sign in are told to come back, and can do so when there is room', async () => {
    const email = newEmail();
    const visitor = world.visitor();
    await visitor.open('/ring/home');
    const form = visitor.page;
    await disk.fill();

    expect((await world.visitor().open('/ring/home')).status).toBe(503);
    await visitor.submit('/sign-up', { email, password: PASSWORD });
    expect(visitor.page.status).toBe(503);
    expect(visitor.heading).toBe('We’ll be right back');
    expect(log()).toContain('"code":"53100"');
    expect(log()).not.toContain(email);

    await disk.makeRoom();
    visitor.page = form;
    await visitor.submit('/sign-up', { email, password: PASSWORD });
    expect(visitor.page.status).toBe(200);
    expect(visitor.page.text).toContain(email);
  });

  test('webhooks are answered 503, told in log and metrics, and applied when Ring delivers them again', async () => {
    const key = world.environment.RING_HMAC_KEY ?? '';
    const before = await countUnavailable();
    await disk.fill();

    const sent = await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'button_press' });
    const others = Array.from({ length: 20 }, () => JSON.stringify(newEvent()));
    const answers = await Promise.all(others.map((body) => deliver(world.url, body, { key })));

    expect(sent.attempts).toMatchObject([{ status: 503 }]);
    expect(answers.map(({ status }) => status)).toEqual(Array(others.length).fill(503));
    // What was read for one scrape is given to others for a second.
    await until('the metrics tell', async () => (await countUnavailable()) - before > others.length);
    expect(log()).toContain('"code":"53100"');
    expect(await world.sql('SELECT 1 FROM webhook_events WHERE request_id = $1', [sent.request_id])).toEqual([]);

    await disk.makeRoom();
    await until('the event is applied', async () => {
      const [event] = await world.sql<Pick<Tables['webhook_events'], 'status'>>(
        'SELECT status FROM webhook_events WHERE request_id = $1',
        [sent.request_id],
      );
      return event?.status === 'PROCESSED';
    });
    expect(await world.sql('SELECT 1 FROM device_events WHERE request_id = $1', [sent.request_id])).toHaveLength(1);
    const [again = ''] = others;
    expect((await deliver(world.url, again, { key })).status).toBe(200);
    const [delivery] = (await world.ring.deliveries()).filter(({ request_id }) => request_id === sent.request_id);
    expect(new Set(delivery?.attempts.map(({ status }) => status))).toEqual(new Set([503, 200]));
  });

  test('a code is not taken, and is good when there is room', async () => {
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    await disk.fill();

    const refused = await send(world.url, '/ring/token', { form: { code } });

    expect(refused.status).toBe(503);
    expect(await exchangesAtRing(ringUser)).toHaveLength(0);
    await disk.makeRoom();
    expect((await send(world.url, '/ring/token', { form: { code } })).status).toBe(200);
    await until('the pair is in the pool', async () => (await pairsOf(world, ringUser)).length === 1);
  });
});

describe('when the disk of Postgres fills up', () => {
  test('during the exchange of a code, the pair is kept until there is room, and then linked', async () => {
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    const answer = send(world.url, '/ring/token', { form: { code } });
    await until('Ring is asked', async () => (await exchangesAtRing(ringUser)).length === 1);
    await disk.fill();
    await world.ring.release();

    await untilLogged('a received token pair is not stored; trying again');
    expect((await answer).status).toBe(503);
    expect(await pairsOf(world, ringUser)).toEqual([]);
    await disk.makeRoom();

    await until('the pair is in the pool', async () => (await pairsOf(world, ringUser))[0]?.status === 'UNCLAIMED');
    expect((await send(world.url, '/ring/token', { form: { code } })).status).toBe(200);
    expect(await exchangesAtRing(ringUser)).toHaveLength(1);
    expect(await world.sql('SELECT 1 FROM ring_tokens WHERE account_id = $1', [ringUser.account_id])).toHaveLength(1);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await visitor.submit('/ring/link');
    expect(visitor.heading).toBe('Your Ring account is linked');
    expect(log()).not.toMatch(/sim-(at|rt)-/);
  });

  test('during a refresh, the new pair is kept until there is room, and the row says so meanwhile', async () => {
    const { ringUser } = owner;
    const before = await tokenOf(world, ringUser);
    await world.sql('UPDATE ring_tokens SET access_token_expires_at = now() WHERE id = $1', [before.id]);
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    const view = openLiveView(world.url, owner);
    await until('Ring is asked', async () => (await refreshesOf(world, ringUser)).length === 1);
    await disk.fill();
    await world.ring.release();

    await untilLogged('a new token pair is not stored; trying again');
    expect(await tokenOf(world, ringUser)).toMatchObject({
      generation: before.generation,
      refresh_state: 'REFRESHING',
      refresh_token_ciphertext: before.refresh_token_ciphertext,
    });
    expect(await statusOf(`${world.url}/livez`)).toBe(200);
    await disk.makeRoom();

    const stored = await until('the new pair is stored', async () => {
      const token = await tokenOf(world, ringUser);
      return token.generation === before.generation + 1 && token;
    });
    expect(stored).toMatchObject({ status: 'CLAIMED', refresh_state: 'FINE', refresh_failures: 0 });
    await view;
    // The stored pair is the one that Ring gave: the next refresh works with it.
    await world.sql('UPDATE ring_tokens SET access_token_expires_at = now() WHERE id = $1', [before.id]);
    expect((await openLiveView(world.url, owner)).status).toBe(201);
    expect((await refreshesOf(world, ringUser)).map(({ status }) => status)).toEqual([200, 200]);
    expect(log()).not.toMatch(/sim-(at|rt)-/);
  });

  test('during a confirmation, the link is completed when there is room', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await world.ring.setFaults([once('integration-post', { kind: 'hold' }, 'after')]);
    const page = visitor.submit('/ring/link');
    await until('Ring is asked', async () =>
      (await world.ring.requests()).some(
        ({ account_id, method, path }) =>
          account_id === ringUser.account_id && method === 'POST' && path.endsWith('/app-integrations'),
      ),
    );
    await disk.fill();
    await world.ring.release();

    await until('it is told', () => Promise.resolve(log().includes('"code":"53100"')));
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'CONFIRMING' }]);
    await disk.makeRoom();

    await untilLink(world, ringUser, 'COMPLETED');
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
    expect((await page).status).toBeLessThan(500);
    await until('its devices are known', async () => {
      const devices = await world.sql('SELECT 1 FROM devices WHERE account_id = $1', [ringUser.account_id]);
      return devices.length === ringUser.devices.length;
    });
    await until('no job is left, and no event', () => isNothingLeft(world));
  });
});

/** The number of exchanges of this user's codes at Ring. */
async function exchangesAtRing({ account_id }: RingUser) {
  const requests = await world.ring.requests();
  return requests.filter((one) => one.grant_type === 'authorization_code' && one.account_id === account_id);
}

/** The number of deliveries of any type that could not be stored. */
async function countUnavailable(): Promise<number> {
  const received = await scrape(world.url);
  const types = received.labelValues('ring_link_webhooks_received_total', 'type');
  const counts = [...types].map((type) =>
    received.count(`ring_link_webhooks_received_total{outcome="unavailable",type="${type}"}`),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
