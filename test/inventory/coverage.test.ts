import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { send } from '../support/clients/http.js';
import { untilApplied, untilIdle } from '../support/features/inbox.js';
import { passPauses } from '../support/waiting/jobs.js';
import { linked } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { scrape } from '../support/inspection/metrics.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

const DAY = 86_400;
const REVIEWER = 'reviewer@example.com';

let world: World;
beforeAll(async () => {
  world = await startWorld({ environment: { SUBSCRIPTION_REQUIRED: 'device', SUBSCRIPTION_EXEMPT: ` ${REVIEWER} ` } });
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

interface Told {
  ids?: string[];
  seconds?: number;
  effect?: boolean;
  id?: string;
}

/** Lets a subscription begin or end at Ring, and waits until the app has asked Ring about it. */
async function tell(owner: Owner, type: 'activated' | 'deactivated', told: Told = {}): Promise<void> {
  // A question that is still under way would put off the one that this leads to.
  await untilIdle(world);
  const { ids = [owner.device.id], seconds = 30 * DAY, effect = true, id = `of ${owner.device.id}` } = told;
  const expires_at = new Date(world.clock.now().getTime() + seconds * 1_000).toISOString();
  await world.ring.sendEvent({
    user_id: owner.ringUser.id,
    type: `subscription_${type}`,
    subscription_id: id.replaceAll(' ', '-'),
    device_ids: ids,
    effect,
    ...(type === 'activated' && { expires_at }),
  });
  await untilIdle(world);
}

/** A user whose device is covered, with a schedule and a picture. */
async function subscribed(told: Told = {}, wish: Parameters<typeof sharing>[1] = {}): Promise<Owner> {
  const owner = await sharing(world, wish);
  await tell(owner, 'activated', told);
  await addSchedule(owner);
  await addPicture(owner);
  return owner;
}

async function addSchedule({ visitor, path, csrfToken }: Owner): Promise<number> {
  await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
  return visitor.page.status;
}

async function addPicture({ ringUser, device }: Owner): Promise<void> {
  await world.sql(
    `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
     VALUES ($1, $2, $3, now(), 'image/png', 'a picture')`,
    [randomUUID(), ringUser.account_id, device.id],
  );
}

const picturesOf = ({ ringUser }: Owner) =>
  world.sql<{ id: string; device_id: string }>('SELECT id, device_id FROM snapshots WHERE account_id = $1', [
    ringUser.account_id,
  ]);

/** How the schedules of the owner's devices stand: the reason of their pause, or ACTIVE. */
async function schedulesOf({ ringUser }: Owner): Promise<string[]> {
  const found = await world.sql<{ state: string }>(
    'SELECT coalesce(pause_reason, status) AS state FROM scheduled_operations WHERE account_id = $1 ORDER BY created_at, id',
    [ringUser.account_id],
  );
  return found.map(({ state }) => state);
}

async function endReasonOf({ ringUser }: Owner): Promise<string | null | undefined> {
  const [view] = await world.sql<{ end_reason: string | null }>(
    'SELECT end_reason FROM live_views WHERE account_id = $1 ORDER BY started_at DESC',
    [ringUser.account_id],
  );
  return view?.end_reason;
}

async function pageOf({ visitor, path }: Owner): Promise<string> {
  await visitor.open(path);
  return visitor.page.text.replaceAll(/\s+/g, ' ');
}

async function homeOf({ visitor }: Owner): Promise<string> {
  return (await visitor.open('/ring/home')).text.replaceAll(/\s+/g, ' ');
}

async function sessionsOf({ ringUser }: Owner): Promise<string[]> {
  const views = await world.ring.liveViews();
  return views.filter(({ account_id }) => account_id === ringUser.account_id).map(({ state }) => state);
}

async function questionsOf({ ringUser }: Owner): Promise<number> {
  const requests = await world.ring.requests();
  return requests.filter(
    ({ account_id, path }) => account_id === ringUser.account_id && path === '/v1/accounts/me/subscriptions',
  ).length;
}

/** The requests for pictures and recordings of the owner's devices. */
async function mediaOf({ ringUser }: Owner): Promise<string[]> {
  const requests = await world.ring.requests();
  return requests
    .filter(({ account_id, path }) => account_id === ringUser.account_id && path.includes('/media/'))
    .map(({ path }) => path);
}

/** Something happens at the device. @returns the event, as the app has it */
async function happens({ ringUser }: Owner): Promise<{ request_id: string; occurred_at: Date }> {
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
  await untilApplied(world, ringUser);
  const [event] = await world.sql<{ request_id: string; occurred_at: Date }>(
    `SELECT request_id, occurred_at FROM device_events WHERE account_id = $1 AND type = 'motion_detected'`,
    [ringUser.account_id],
  );
  if (event === undefined) throw new Error('no event');
  return event;
}

const switchOn = ({ visitor, path, csrfToken }: Owner) =>
  visitor.post(`${path}/event-pictures`, { _csrf: csrfToken, on: 'yes' });

const outcomesOf = async ({ ringUser }: Owner) => {
  const requests = await world.sql<{ outcome: string | null }>(
    'SELECT outcome FROM picture_requests WHERE account_id = $1',
    [ringUser.account_id],
  );
  return requests.map(({ outcome }) => outcome);
};

/** Runs a periodic task, and waits for what it has begun. */
async function runTask(name: string): Promise<void> {
  const runs = async () =>
    (await scrape(world.url)).count(`ring_link_clock_ticks_total{clock="${name}",outcome="done"}`);
  const before = await runs();
  await tick(name);
  await until('the task has come to an end', async () => (await runs()) > before);
  await untilIdle(world);
}

const NOTHING_COVERS = 'No active subscription covers this device.';

describe('a device without a subscription', () => {
  test('has no live view, picture or schedule, and Ring is not asked for any', async () => {
    const owner = await sharing(world);
    await untilIdle(world);

    const view = await openLiveView(world.url, owner);
    expect([view.status, JSON.parse(view.text)]).toMatchObject([403, { detail: /active subscription.*Ring app/ }]);
    expect(await addSchedule(owner)).toBe(403);
    await owner.visitor.post(`${owner.path}/snapshots`, { _csrf: owner.csrfToken });
    expect(owner.visitor.page.status).toBe(403);
    expect(owner.visitor.page.text).toContain('Get or renew it in the Ring app');

    expect(await schedulesOf(owner)).toEqual([]);
    expect(await mediaOf(owner)).toEqual([]);
  });

  test('gives neither the picture nor the recording of an event, by a click or by itself', async () => {
    const owner = await subscribed();
    await switchOn(owner);
    await tell(owner, 'deactivated');
    const { visitor, path, csrfToken } = owner;
    const event = await happens(owner);
    const recording = `${path}/recordings/${event.occurred_at.getTime()}`;

    expect(await outcomesOf(owner)).toEqual([]);
    await visitor.post(`${path}/events/${event.request_id}/snapshot`, { _csrf: csrfToken });
    expect([visitor.page.status, visitor.page.text]).toEqual([403, expect.stringContaining('active subscription')]);
    expect(visitor.page.text).toMatch(/<h1>No active subscription covers this device<\/h1>/);
    expect(visitor.page.text).not.toMatch(/load the page again|tap Sign In/);
    // Neither is offered, where the device stands alone or among others.
    for (const address of [path, '/ring/home', '/events']) {
      const { text } = await visitor.open(address);
      expect(text).toContain('class="event-text"');
      expect(text).not.toMatch(/Show the picture|Watch the recording/);
    }
    await visitor.open(recording);
    expect([visitor.page.status, visitor.page.text]).toEqual([
      403,
      expect.stringContaining('No subscription covers the device'),
    ]);
    expect((await send(world.url, `${recording}/video`, { cookie: visitor.cookie })).status).toBe(403);
    await switchOn(owner);
    expect(visitor.page.status).toBe(403);
    expect(await mediaOf(owner)).toEqual([]);
  });

  test('says so on its page and at home, and where to get one', async () => {
    const owner = await sharing(world, { name: 'Back Gate' });
    await untilIdle(world);

    const page = await pageOf(owner);

    expect(page).toContain(NOTHING_COVERS);
    expect(page).toContain('You get or renew it in the Ring app');
    expect(page).not.toMatch(/Watch live|Show the latest picture|Schedule every hour/);
    expect(await homeOf(owner)).toContain('No active subscription covers Back Gate: no live view');
  });

  test('waits for Ring’s first answer, and says that', async () => {
    await world.ring.setFaults([{ endpoint: 'subscriptions', fault: { kind: 'status', status: 503 } }]);
    const owner = await sharing(world);

    expect(await pageOf(owner)).toContain('Ring has not told us yet whether a subscription covers this device.');

    await world.ring.setFaults([]);
    await tell(owner, 'activated');
    expect(await pageOf(owner)).toContain('Watch live');
  });
});

describe('an active subscription', () => {
  test('opens live views, pictures and schedules of its device, and of no other', async () => {
    const user = await world.ring.createUser({ devices: [{ name: 'Front Door' }, { name: 'Garage' }] });
    const { visitor } = await linked(world, user);
    await untilIdle(world);
    const [door, garage] = user.devices.map((device) => ({ device, path: `/devices/${device.id}` }));
    if (door === undefined || garage === undefined) throw new Error('no devices');
    const common = { visitor, ringUser: user, userId: '', csrfToken: '' };
    await tell({ ...common, ...door }, 'activated');

    expect(await pageOf({ ...common, ...door })).toContain('Watch live');
    expect(await pageOf({ ...common, ...garage })).toContain(NOTHING_COVERS);
    const home = await homeOf({ ...common, ...door });
    expect(home).toContain('No active subscription covers Garage: no live view');
  });

  test('of another Ring account covers nothing', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);
    await tell(other, 'activated', { ids: [owner.device.id, other.device.id] });

    expect((await openLiveView(world.url, owner)).status).toBe(403);
    expect((await openLiveView(world.url, other)).status).toBe(201);
  });
});

describe('a deactivation', () => {
  test('closes live views at Ring, pauses schedules, erases pictures, and says so', async () => {
    const owner = await subscribed();
    const { location } = await openLiveView(world.url, owner);
    const [picture] = await picturesOf(owner);
    expect(await sessionsOf(owner)).toEqual(['open']);

    await tell(owner, 'deactivated');

    expect(await endReasonOf(owner)).toBe('SUBSCRIPTION');
    expect(await sessionsOf(owner)).toEqual(['closed']);
    expect(await schedulesOf(owner)).toEqual(['SUBSCRIPTION']);
    expect(await picturesOf(owner)).toEqual([]);
    const page = await pageOf(owner);
    expect(page).toContain(NOTHING_COVERS);
    expect(page).toMatch(/On <time datetime="\d{4}-[^>]+>[^<]+<\/time> we erased the pictures that we held of it/);
    expect(page).toContain('Paused while no subscription covers the device. Goes on by itself.');
    const { text } = await send(world.url, location ?? '', { cookie: owner.visitor.cookie });
    expect(JSON.parse(text)).toMatchObject({ status: 'ENDED', endReason: 'SUBSCRIPTION' });
    const gone = await send(world.url, `${owner.path}/snapshots/${picture?.id}`, { cookie: owner.visitor.cookie });
    expect(gone.status).toBe(403);
  });

  test('is what Ring answers, not what the webhook says', async () => {
    const owner = await subscribed();

    await tell(owner, 'deactivated', { effect: false });

    expect(await schedulesOf(owner)).toEqual(['ACTIVE']);
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('takes nothing from a device that another subscription still covers, nor from another device', async () => {
    const owner = await subscribed();
    await tell(owner, 'activated', { id: `more of ${owner.device.id}` });

    await tell(owner, 'deactivated');
    expect(await schedulesOf(owner)).toEqual(['ACTIVE']);

    await tell(owner, 'deactivated', { id: `more of ${owner.device.id}` });
    expect(await schedulesOf(owner)).toEqual(['SUBSCRIPTION']);
  });

  test('leaves another device of the account alone', async () => {
    const owner = await subscribed();
    const other = randomUUID();
    await world.sql(`INSERT INTO devices (account_id, id, name, online) VALUES ($1, $2, 'Garage', true)`, [
      owner.ringUser.account_id,
      other,
    ]);
    await tell(owner, 'activated', { id: `of ${other}`, ids: [other] });
    await addPicture({ ...owner, device: { id: other, name: 'Garage' } });

    await tell(owner, 'deactivated');

    expect(await picturesOf(owner)).toMatchObject([{ device_id: other }]);
    expect(await pageOf({ ...owner, path: `/devices/${other}` })).toContain('Watch live');
  });

  test('ends a live view that is opening at this moment', async () => {
    const owner = await subscribed();
    await world.ring.setFaults([{ endpoint: 'whep-post', fault: { kind: 'hold' }, when: 'after', times: 1 }]);
    const opening = openLiveView(world.url, owner);
    await until('it is open at Ring', async () => (await sessionsOf(owner)).includes('open'));
    await tell(owner, 'deactivated');
    expect(await endReasonOf(owner)).toBe('SUBSCRIPTION');

    await world.ring.release();

    expect((await opening).status).toBe(403);
    await until('Ring has closed it', async () => (await sessionsOf(owner)).join() === 'closed');
  });

  test.each([
    ['no picture that was under way', true, 0],
    ['a picture that was under way when Ring has not confirmed it', false, 1],
  ])('stores %s', async (_what, effect, stored) => {
    const owner = await subscribed();
    // Ring gives nothing from before the link.
    world.clock.advance(60);
    await world.ring.record({ user_id: owner.ringUser.id });
    world.clock.advance(60);
    await world.sql('DELETE FROM snapshots WHERE account_id = $1', [owner.ringUser.account_id]);
    await world.ring.setFaults([{ endpoint: 'image', fault: { kind: 'hold' }, times: 1 }]);
    const taking = owner.visitor.post(`${owner.path}/snapshots`, { _csrf: owner.csrfToken });
    await until('Ring is asked for a picture', async () =>
      (await world.ring.requests()).some(
        ({ account_id, path }) => account_id === owner.ringUser.account_id && path.endsWith('/image/download'),
      ),
    );
    await tell(owner, 'deactivated', { effect });

    await world.ring.release();
    await taking;

    expect(owner.visitor.page.status).toBe(200);
    expect(await picturesOf(owner)).toHaveLength(stored);
  });

  test('keeps the pause that a user has made, which then can not be ended until the device is covered', async () => {
    const owner = await subscribed();
    const [schedule] = await world.sql<{ id: string }>('SELECT id FROM scheduled_operations WHERE account_id = $1', [
      owner.ringUser.account_id,
    ]);
    const form = `${owner.path}/scheduled-operations/${schedule?.id}`;
    await owner.visitor.post(`${form}/pause`, { _csrf: owner.csrfToken });
    await tell(owner, 'deactivated');
    expect(await schedulesOf(owner)).toEqual(['USER']);
    expect(await pageOf(owner)).not.toContain(`${form}/resume`);

    await owner.visitor.post(`${form}/resume`, { _csrf: owner.csrfToken });
    expect([owner.visitor.page.status, await schedulesOf(owner)]).toEqual([403, ['USER']]);

    await tell(owner, 'activated');
    expect(await schedulesOf(owner)).toEqual(['USER']);
    await owner.visitor.post(`${form}/resume`, { _csrf: owner.csrfToken });
    expect(await schedulesOf(owner)).toEqual(['ACTIVE']);
  });
});

describe('an activation', () => {
  test('lets schedules go on, and the page offers everything again', async () => {
    const owner = await subscribed();
    await tell(owner, 'deactivated');

    await tell(owner, 'activated');

    expect(await schedulesOf(owner)).toEqual(['ACTIVE']);
    const page = await pageOf(owner);
    expect(page).toContain('Watch live');
    expect(page).not.toMatch(/subscription covers|we erased/);
    expect((await openLiveView(world.url, owner)).status).toBe(201);
  });

  test('leaves the schedules of an offline device to its coming back', async () => {
    const owner = await subscribed();
    await tell(owner, 'deactivated');
    world.clock.advance(1);
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_offline' });
    await untilIdle(world);
    expect(await schedulesOf(owner)).toEqual(['SUBSCRIPTION']);

    await tell(owner, 'activated');

    expect(await schedulesOf(owner)).toEqual(['OFFLINE']);
  });
});

describe('while Ring is away', () => {
  const away = () => world.ring.setFaults([{ endpoint: 'subscriptions', fault: { kind: 'status', status: 503 } }]);

  test('its last answer counts until the date in it, and no longer, without a webhook', async () => {
    const owner = await subscribed({ seconds: 3_600 });
    await away();

    world.clock.advance(3_599);
    await runTask('check subscriptions');
    expect((await openLiveView(world.url, owner)).status).toBe(201);

    world.clock.advance(2);
    expect((await openLiveView(world.url, owner)).status).toBe(403);
    expect(await pageOf(owner)).toContain(NOTHING_COVERS);
    const [picture] = await picturesOf(owner);
    const hidden = await send(world.url, `${owner.path}/snapshots/${picture?.id}`, { cookie: owner.visitor.cookie });
    expect(hidden.status).toBe(403);

    // Ring has five minutes to tell of a renewal, and it is asked for one.
    const asked = await questionsOf(owner);
    world.clock.advance(60);
    await runTask('check subscriptions');
    expect(await questionsOf(owner)).toBeGreaterThan(asked);
    expect(await picturesOf(owner)).toHaveLength(1);

    world.clock.advance(300);
    await runTask('check subscriptions');
    await until('schedules are paused', async () => (await schedulesOf(owner)).join() === 'SUBSCRIPTION');
    expect(await picturesOf(owner)).toEqual([]);

    await world.ring.setFaults([]);
    await tell(owner, 'activated');
    expect(await schedulesOf(owner)).toEqual(['ACTIVE']);
  });

  test('pictures are not shown or fetched once the date has passed, and can be deleted', async () => {
    const owner = await subscribed({ seconds: 3_600 });
    await away();
    await switchOn(owner);
    world.clock.advance(3_590);
    await happens(owner);
    expect(await outcomesOf(owner)).toEqual([null]);
    world.clock.advance(20);
    await passPauses(world);

    await until('the event’s picture is given up', async () => (await outcomesOf(owner)).join() === 'uncovered');
    expect(await mediaOf(owner)).toEqual([]);
    const { visitor, path, csrfToken } = owner;
    const [picture] = await picturesOf(owner);
    for (const way of ['', '/download', '/view']) {
      const hidden = await send(world.url, `${path}/snapshots/${picture?.id}${way}`, { cookie: visitor.cookie });
      expect([way, hidden.status]).toEqual([way, 403]);
    }
    await visitor.post(`${path}/snapshots/${picture?.id}/delete`, { _csrf: csrfToken });
    expect(await picturesOf(owner)).toEqual([]);
  });

  test('the picture of an event that is still kept is not offered once the date has passed', async () => {
    const owner = await subscribed({ seconds: 3_600 });
    const { visitor, path, csrfToken } = owner;
    const { request_id } = await happens(owner);
    await visitor.post(`${path}/events/${request_id}/snapshot`, { _csrf: csrfToken });
    expect((await visitor.open('/events')).text).toMatch(/<a href="[^"]*">Show the picture/);
    await away();
    world.clock.advance(3_610);

    const { text } = await visitor.open('/events');
    expect(text).toContain('class="event-text"');
    expect(text).not.toContain('Show the picture');
  });

  test('a schedule that is due fetches no picture once the date has passed', async () => {
    const owner = await subscribed({ seconds: 3_590 });
    await world.sql('DELETE FROM snapshots WHERE account_id = $1', [owner.ringUser.account_id]);
    await away();
    world.clock.advance(3_601);
    await world.ring.record({ user_id: owner.ringUser.id });

    await runTask('start due snapshots');

    expect(await picturesOf(owner)).toEqual([]);
  });
});

test('a renewal that Ring tells in time takes nothing away', async () => {
  const owner = await subscribed({ seconds: 3_600 });
  world.clock.advance(3_600);
  // Ring has renewed it, and its webhook is lost.
  await world.ring.sendEvent({
    user_id: owner.ringUser.id,
    type: 'subscription_activated',
    subscription_id: `of-${owner.device.id}`,
    device_ids: [owner.device.id],
    expires_at: new Date(world.clock.now().getTime() + DAY * 1_000).toISOString(),
    deliver: 'dropped',
  });
  expect((await openLiveView(world.url, owner)).status).toBe(403);

  world.clock.advance(60);
  await runTask('check subscriptions');

  await until('it is covered', async () => (await openLiveView(world.url, owner)).status === 201);
  expect(await picturesOf(owner)).toHaveLength(1);
  expect(await schedulesOf(owner)).toEqual(['ACTIVE']);
});

test('an answer from after the date that says active is the truth', async () => {
  const owner = await sharing(world);
  await tell(owner, 'activated', { seconds: -3_600 });
  expect((await openLiveView(world.url, owner)).status).toBe(201);
});

test('a question is asked once a day without a webhook, and not before', async () => {
  const owner = await sharing(world);
  await untilIdle(world);
  const before = await questionsOf(owner);

  world.clock.advance(20 * 3_600 - 60);
  await runTask('check subscriptions');
  expect(await questionsOf(owner)).toBe(before);

  world.clock.advance(4 * 3_600 + 120);
  await runTask('check subscriptions');
  await until('Ring is asked', async () => (await questionsOf(owner)) === before + 1);
});

describe('a refusal', () => {
  test.each([403, 404, 422])(
    'with %i means no subscriptions, is recorded with its time, and asked once a day',
    async (status) => {
      const owner = await subscribed();
      await world.ring.setFaults([{ endpoint: 'subscriptions', fault: { kind: 'status', status } }]);
      await tell(owner, 'deactivated', { effect: false });

      expect(await world.sql('SELECT 1 FROM subscriptions WHERE account_id = $1', [owner.ringUser.account_id])).toEqual(
        [],
      );
      const [link] = await world.sql<{ subscriptions_answered_at: Date }>(
        'SELECT subscriptions_answered_at FROM account_links WHERE account_id = $1',
        [owner.ringUser.account_id],
      );
      expect(link?.subscriptions_answered_at).toEqual(world.clock.now());
      expect(await pageOf(owner)).toContain(NOTHING_COVERS);
      expect(await schedulesOf(owner)).toEqual(['SUBSCRIPTION']);

      const asked = await questionsOf(owner);
      await passPauses(world);
      await runTask('check subscriptions');
      expect(await questionsOf(owner)).toBe(asked);
      world.clock.advance(DAY + 60);
      await world.ring.setFaults([]);
      await runTask('check subscriptions');
      await until(
        'Ring is asked, and the schedule goes on',
        async () => (await schedulesOf(owner)).join() === 'ACTIVE',
      );
    },
  );

  test('with 401 is no answer: what was known stays', async () => {
    const owner = await subscribed();
    await world.ring.setFaults([{ endpoint: 'subscriptions', fault: { kind: 'status', status: 401 } }]);

    await tell(owner, 'deactivated');

    expect(await schedulesOf(owner)).toEqual(['ACTIVE']);
  });
});

describe('a user who is exempt', () => {
  test('needs no subscription, is named masked in the log, and counted from when it began', async () => {
    const owner = await sharing(world);
    await world.sql('UPDATE users SET email = $1 WHERE id = $2', [REVIEWER, owner.userId]);
    await runTask('check subscriptions');

    expect((await openLiveView(world.url, owner)).status).toBe(201);
    expect(await pageOf(owner)).toContain('Watch live');
    expect(await homeOf(owner)).not.toContain('No active subscription');
    const line = world.log.find((one) => one.includes('SUBSCRIPTION_EXEMPT'));
    expect(line).toContain('r***r@example.com');
    expect(world.log.join('')).not.toContain(REVIEWER);

    await until(
      'the exemption is noted',
      async () => (await ageOfExemption()) === 0 && (await sinceOf(owner)) !== null,
    );
    world.clock.advance(31 * DAY);
    expect(await ageOfExemption()).toBe(31 * DAY);
  });

  async function ageOfExemption(): Promise<number | undefined> {
    return (await scrape(world.url)).value('ring_link_subscription_exemption_age_seconds');
  }

  async function sinceOf({ userId }: Owner): Promise<Date | null | undefined> {
    const [user] = await world.sql<{ exempt_since: Date | null }>('SELECT exempt_since FROM users WHERE id = $1', [
      userId,
    ]);
    return user?.exempt_since;
  }
});

test('two instances apply a deactivation once, and neither waits for the other', async () => {
  const other = await world.startAnother();
  const owner = await subscribed();
  await openLiveView(world.url, owner);

  await tell(owner, 'deactivated');
  await Promise.all([runTask('check subscriptions'), runTask('check subscriptions')]);

  expect(await schedulesOf(owner)).toEqual(['SUBSCRIPTION']);
  expect(await sessionsOf(owner)).toEqual(['closed']);
  const second = await openLiveView(`http://localhost:${other.port}`, owner);
  expect(second.status).toBe(403);
});
