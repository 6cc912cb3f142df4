import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { send } from '../support/clients/http.js';
import { silentFor, untilHistoryIsRead } from '../support/features/history.js';
import { untilApplied } from '../support/features/inbox.js';
import { passPauses, untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { once } from '../support/features/linking.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import type { Fault } from '../support/worlds/ring.js';
import { until } from '../support/waiting/until.js';
import { startWorld, TestClock, type World } from '../support/worlds/world.js';

const HOUR = 3_600;
const DAY = 24 * HOUR;
const RECORDS_WHEN =
  'A device records when it sees motion, when somebody presses the doorbell, and when you watch live.';

let world: World;
/** How far Ring's clock is ahead of ours. */
let ringAheadMs = 0;
beforeAll(async () => {
  const before = new TestClock();
  const ours = () => ((world as World | undefined)?.clock ?? before).now().getTime();
  world = await startWorld({ ringTimeoutMs: scaled(1_500), ringNow: () => ours() + ringAheadMs });
});
afterEach(async () => {
  await world.ring.setFaults([]);
  await world.sql('DELETE FROM scheduled_operations');
  await untilJobsAreDone(world);
});
afterAll(() => world.stop());

interface Picture {
  id: string;
  taken_at: Date;
}

function picturesOf({ ringUser }: Owner): Promise<Picture[]> {
  return world.sql<Picture>('SELECT id, taken_at FROM snapshots WHERE account_id = $1 ORDER BY taken_at DESC', [
    ringUser.account_id,
  ]);
}

const now = () => world.clock.now().getTime();

/** The device records a frame. */
const record = ({ ringUser, device }: Owner, at = now(), more: { ready_at?: number; condition?: 'corrupt' } = {}) =>
  world.ring.record({ user_id: ringUser.id, device_id: device.id, start: at, end: at, ready_at: at, ...more });

/** The bodies of the requests for pictures of an owner's device, oldest first. */
async function asked({ ringUser }: Owner): Promise<Record<string, unknown>[]> {
  const requests = await world.ring.requests();
  return requests
    .filter(({ account_id, path }) => account_id === ringUser.account_id && path.endsWith('/media/image/download'))
    .map(({ asked: body }) => JSON.parse(body ?? '') as Record<string, unknown>);
}

/** The user asks for the latest picture. */
async function ask({ visitor, path }: Owner): Promise<string> {
  await visitor.open(path);
  await visitor.submit(`${path}/snapshots`);
  expect(visitor.page.status).toBe(200);
  return wordsOf(visitor.page.text);
}

const wordsOf = (html: string) => html.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ');

/** Something happens at the device, and it records it from then on. */
async function happens(
  { ringUser, device }: Owner,
  type: 'motion_detected' | 'button_press' = 'motion_detected',
): Promise<string> {
  const sent = await world.ring.sendEvent({ user_id: ringUser.id, device_id: device.id, type });
  await untilApplied(world, ringUser);
  return sent.request_id;
}

async function switchOn(owner: Owner): Promise<void> {
  await owner.visitor.open(owner.path);
  await owner.visitor.submit(`${owner.path}/event-pictures`, { on: 'yes' });
}

describe('the latest picture', () => {
  test('is the newest that Ring has recorded, with the time at which it was recorded', async () => {
    const owner = await sharing(world);
    world.clock.advance(2 * HOUR);
    await record(owner, now() - 100 * 60_000);
    await record(owner, now() - 90 * 60_000);

    const words = await ask(owner);

    const taken = new Date(now() - 90 * 60_000);
    expect(await picturesOf(owner)).toMatchObject([{ taken_at: taken }]);
    expect(owner.visitor.page.text).toContain(
      `<span class="visually-hidden">Picture of</span> <time datetime="${taken.toISOString()}">`,
    );
    expect(words).not.toContain('Problem');
  });

  test('is asked for from the consent, at most a day, and until now by Ring’s clock', async () => {
    const owner = await sharing(world);
    const consent = now();
    world.clock.advance(HOUR);
    await ask(owner);
    expect(await asked(owner)).toEqual([{ type: 'latest_in_range', start_timestamp: consent }]);

    world.clock.advance(2 * DAY);
    await ask(owner);
    expect((await asked(owner)).slice(1)).toEqual([
      { type: 'latest_in_range', start_timestamp: now() - DAY * 1_000 + 65_000 },
    ]);
  });

  test('is asked for from later on when Ring has the consent later: by what the clocks may be apart, or since the device', async () => {
    const owner = await sharing(world);
    const consent = now();
    world.clock.advance(HOUR);
    await world.sql('UPDATE devices SET added_at = $2 WHERE id = $1', [owner.device.id, world.clock.now()]);
    const added = now();
    world.clock.advance(HOUR);
    await record(owner);
    const refusal = refused('image', 403, 'TIME_RANGE_NOT_AUTHORIZED');
    await world.ring.setFaults([refusal, refusal]);

    await ask(owner);

    expect((await asked(owner)).map(({ start_timestamp }) => start_timestamp)).toEqual([
      consent,
      consent + 5_000,
      added + 5_000,
    ]);
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('is asked for since the device was added, also when the account is linked for more than a day', async () => {
    const owner = await sharing(world);
    world.clock.advance(2 * DAY);
    await world.sql('UPDATE devices SET added_at = $2 WHERE id = $1', [owner.device.id, world.clock.now()]);
    const added = now();
    world.clock.advance(HOUR);
    await record(owner);
    await world.ring.setFaults([refused('image', 403, 'TIME_RANGE_NOT_AUTHORIZED')]);

    await ask(owner);

    expect((await asked(owner)).map(({ start_timestamp }) => start_timestamp)).toEqual([
      now() - DAY * 1_000 + 65_000,
      added + 5_000,
    ]);
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('is found although Ring gets the question some seconds late, or its clock is that much ahead', async () => {
    const owner = await sharing(world);
    world.clock.advance(2 * DAY);
    await record(owner, now() - HOUR * 1_000);
    ringAheadMs = 20_000;
    await ask(owner).finally(() => (ringAheadMs = 0));
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('can be asked for in the moment of the consent', async () => {
    const owner = await sharing(world);
    await record(owner);
    await ask(owner);
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('is looked for step by step as far back as the newest known event', async () => {
    const owner = await sharing(world);
    world.clock.advance(DAY);
    await happens(owner);
    const happened = now();
    world.clock.advance(3.5 * DAY);

    await ask(owner);

    expect((await picturesOf(owner)).map(({ taken_at }) => taken_at.getTime())).toEqual([happened + 8_000]);
    const end = now() - DAY * 1_000 + 65_000;
    const day = (daysBefore: number) => ({
      type: 'latest_in_range',
      start_timestamp: end - (daysBefore + 1) * DAY * 1_000,
      end_timestamp: end - daysBefore * DAY * 1_000,
    });
    expect(await asked(owner)).toEqual([{ type: 'latest_in_range', start_timestamp: end }, day(0), day(1), day(2)]);

    // What is found is kept, and looked for no more.
    const words = await ask(owner);
    expect(await asked(owner)).toHaveLength(5);
    expect(words).toContain('Ring has recorded nothing lately.');
  });

  test('of an event long ago is looked for on the day of that event after a week', async () => {
    const owner = await sharing(world);
    await happens(owner);
    const happened = now();
    world.clock.advance(20 * DAY);

    await ask(owner);

    expect((await picturesOf(owner)).map(({ taken_at }) => taken_at.getTime())).toEqual([happened + 8_000]);
    expect(await asked(owner)).toHaveLength(9);
  });

  test('that is kept already is not kept twice', async () => {
    const owner = await sharing(world);
    await record(owner);
    await ask(owner);

    const words = await ask(owner);

    expect(words).toContain(`This is still the latest picture. Ring has recorded nothing since. ${RECORDS_WHEN}`);
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('is there also while the device is offline', async () => {
    const owner = await sharing(world, { online: false });
    await record(owner);
    await ask(owner);
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('is not offered by a device without a camera', async () => {
    const owner = await sharing(world, { capabilities: { video: null, flood_detection: {} } });
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).not.toMatch(/latest picture|id="pictures"|id="schedules"/);
  });

  test('is for its user alone, needs the token of the page, and leaves an address that leads back', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);
    const address = `${owner.path}/snapshots`;
    const { cookie } = other.visitor;

    expect((await send(world.url, address, { cookie, form: { _csrf: other.csrfToken } })).status).toBe(404);
    expect((await send(world.url, address, { cookie: owner.visitor.cookie, form: {} })).status).toBe(403);
    expect((await send(world.url, address, { form: {} })).location).toBe('/ring/home?sign-in');
    const back = await send(world.url, address, { cookie });
    expect([back.status, back.location]).toEqual([303, owner.path]);
    expect(await asked(owner)).toEqual([]);
  });
});

const refused = (endpoint: 'image' | 'media', status: number, code?: string): Fault =>
  once(endpoint, { kind: 'status', status, ...(code !== undefined && { code }) });

/** What Ring says, and what the page says then. */
const REFUSALS: [what: string, fault: Fault, latest: string, ofEvent?: string][] = [
  [
    'nothing is recorded',
    refused('media', 416, 'MEDIA_NOT_FOUND'),
    `Ring has recorded nothing lately. ${RECORDS_WHEN} Watch live for a moment, for example, and ask again then.`,
    'Ring has no recording of this event. It may be deleted there.',
  ],
  [
    'it was before the consent',
    { ...refused('image', 403, 'TIME_RANGE_NOT_AUTHORIZED'), times: 2 },
    'This was recorded before you shared the device with us, so Ring shows it to you alone. You find it in the Ring app.',
  ],
  ['Ring is busy', refused('media', 503, 'SERVER_BUSY'), 'Ring is busy right now. Please try again in a moment.'],
  ['too many ask', once('image', { kind: 'status', status: 429 }), 'Ring is busy right now. Please try again'],
  ['it is damaged', refused('media', 422, 'CORRUPT_RECORDING'), 'Ring could not read this recording: it is damaged.'],
  [
    'the device is gone',
    refused('image', 404, 'DEVICE_NOT_FOUND'),
    'there is no such camera for us any more. If you want',
  ],
  [
    'Ring fails',
    refused('image', 500, 'INTERNAL_ERROR'),
    'Ring gave us no picture. Something is not working there: please',
  ],
];

describe('what Ring answers has words and a next step', () => {
  test.each(REFUSALS)('for the latest picture: %s', async (_what, fault, words) => {
    const owner = await sharing(world);
    await world.ring.setFaults([fault]);

    expect(await ask(owner)).toContain(words);
    expect(await picturesOf(owner)).toEqual([]);
    expect(await asked(owner)).toHaveLength(fault.times ?? 1);

    // It is told on each visit, until it is old.
    await owner.visitor.open(owner.path);
    expect(wordsOf(owner.visitor.page.text)).toContain(words);
    world.clock.advance(61 * 60);
    await owner.visitor.open(owner.path);
    expect(wordsOf(owner.visitor.page.text)).not.toContain(words);
  });

  test.each(REFUSALS)('for the picture of an event: %s', async (_what, fault, words, ofEvent = words) => {
    const owner = await sharing(world);
    const event = await happens(owner);
    await world.ring.setFaults([fault]);
    await owner.visitor.open(owner.path);

    const address = `${owner.path}/events/${event}/snapshot`;
    await owner.visitor.post(address, { _csrf: owner.csrfToken });

    expect(owner.visitor.heading).toBe('Picture of an event');
    expect(wordsOf(owner.visitor.page.text)).toContain(ofEvent);
    expect(await picturesOf(owner)).toEqual([]);

    // Asked again, it comes.
    await world.ring.setFaults([]);
    await owner.visitor.submit(address);
    expect(owner.visitor.heading).toBe('Picture of Front Door');
  });

  test.each(REFUSALS)('for a schedule: %s', async (_what, fault, words) => {
    const owner = await sharing(world);
    await owner.visitor.post(`${owner.path}/scheduled-operations`, { _csrf: owner.csrfToken, frequency: 'HOURLY' });
    world.clock.advance(HOUR);
    // It is asked again where that may help.
    await world.ring.setFaults(Array.from({ length: 9 }, () => fault));
    await tick('start due snapshots');
    await until('the run is over', async () => {
      await untilJobsAreDone(world, 'take_snapshot');
      const runs = await world.sql('SELECT 1 FROM scheduled_operations WHERE last_outcome IS NOT NULL');
      return runs.length > 0;
    });

    await owner.visitor.open(owner.path);

    const [fact = ''] = /^[^.]*\./.exec(words) ?? [];
    const told = /Last time: [^.]*\./.exec(wordsOf(owner.visitor.page.text))?.[0] ?? '';
    expect(told.slice('Last time: '.length)).toContain(fact.slice(0, 40));
  });

  test('encrypted', async () => {
    const owner = await sharing(world, { encryption: 'account' });
    await record(owner);
    expect(await ask(owner)).toContain('Your Ring account encrypts what its devices record, so only your own phone');
    expect(await picturesOf(owner)).toEqual([]);
  });

  test('a link that has ended leads home', async () => {
    const owner = await sharing(world);
    const refusal = { kind: 'body', status: 400, contentType: 'application/json', body: '{"error":"invalid_grant"}' };
    await world.sql("UPDATE ring_tokens SET access_token_expires_at = now() - interval '1 day' WHERE account_id = $1", [
      owner.ringUser.account_id,
    ]);
    await world.ring.setFaults([{ endpoint: 'token', fault: refusal, times: 1 }]);
    await ask(owner);
    expect(owner.visitor.heading).toContain('Your home');
  });
});

describe('a picture that is not ready yet', () => {
  test('is asked for again by a job, and the page says so until it is there', async () => {
    const owner = await sharing(world);
    world.clock.advance(60);
    await record(owner, now(), { ready_at: now() + 25_000 });

    expect(await ask(owner)).toContain(
      'The recording is not ready at Ring yet. We ask again within a minute, even if you close this page.',
    );
    const [job] = await world.sql<{ wait: number }>(
      `SELECT extract(epoch FROM run_at - now())::float AS wait FROM graphile_worker.jobs WHERE task_identifier = 'fetch_picture'`,
    );
    expect(job?.wait).toBeLessThanOrEqual(10);
    await passPauses(world);
    await until('Ring is asked again', async () => (await asked(owner)).length === 2);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).toContain('The recording is not ready at Ring yet.');

    world.clock.advance(25);
    await untilJobsAreDone(world, 'fetch_picture');

    expect(await picturesOf(owner)).toHaveLength(1);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).not.toContain('not ready');
  });

  test('after a minute is left to its user', async () => {
    const owner = await sharing(world);
    await record(owner, now(), { ready_at: now() + HOUR * 1_000 });
    await ask(owner);

    await untilJobsAreDone(world, 'fetch_picture');

    expect(await asked(owner)).toHaveLength(7);
    await owner.visitor.open(owner.path);
    expect(wordsOf(owner.visitor.page.text)).toContain(
      'The recording is still not ready at Ring. Please ask again in a few minutes.',
    );
  });

  test('and of an event: its own page says so', async () => {
    const owner = await sharing(world);
    await world.ring.setSettings({ recordingReadyAfterMs: 30_000 });
    const event = await happens(owner).finally(() => world.ring.setSettings({ recordingReadyAfterMs: 0 }));
    const address = `${owner.path}/events/${event}/snapshot`;
    await owner.visitor.post(address, { _csrf: owner.csrfToken });
    expect(owner.visitor.page.text).toContain('The recording is not ready at Ring yet.');

    world.clock.advance(30);
    await untilJobsAreDone(world, 'fetch_picture');

    await owner.visitor.open(address);
    expect(owner.visitor.heading).toBe('Picture of Front Door');
  });

  test('is dropped when the device is removed meanwhile', async () => {
    const owner = await sharing(world);
    world.clock.advance(60);
    await record(owner, now(), { ready_at: now() + 10_000 });
    await ask(owner);
    world.clock.advance(10);
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_removed', device_id: owner.device.id });
    await untilApplied(world, owner.ringUser);

    await untilJobsAreDone(world, 'fetch_picture');

    expect(await picturesOf(owner)).toEqual([]);
    expect(
      await world.sql('SELECT 1 FROM picture_requests WHERE account_id = $1', [owner.ringUser.account_id]),
    ).toEqual([]);
  });

  test('is dropped also when the device is back by the time that it comes', async () => {
    const owner = await sharing(world);
    world.clock.advance(60);
    await record(owner, now(), { ready_at: now() + 10_000 });
    await ask(owner);
    world.clock.advance(10);
    await world.ring.setFaults([{ endpoint: 'media', fault: { kind: 'hold' } }]);
    await passPauses(world);
    await until('Ring is asked again', async () => (await asked(owner)).length === 2);
    const { ringUser, device } = owner;
    for (const type of ['device_removed', 'device_added'] as const) {
      world.clock.advance(1);
      await world.ring.sendEvent({ user_id: ringUser.id, device_id: device.id, type });
      await untilApplied(world, ringUser);
    }

    await world.ring.release();
    await untilJobsAreDone(world, 'fetch_picture');

    expect(await picturesOf(owner)).toEqual([]);
  });

  test('is fetched once by two instances, and comes on either', async () => {
    const owner = await sharing(world);
    world.clock.advance(60);
    await record(owner, now(), { ready_at: now() + 5_000 });
    const other = await world.startAnother();
    await ask(owner);
    const form = { _csrf: owner.csrfToken };
    await send(`http://localhost:${other.port}`, `${owner.path}/snapshots`, { cookie: owner.visitor.cookie, form });
    world.clock.advance(5);

    await untilJobsAreDone(world, 'fetch_picture');

    expect(await picturesOf(owner)).toHaveLength(1);
    const requests = await world.sql('SELECT status, outcome FROM picture_requests WHERE account_id = $1', [
      owner.ringUser.account_id,
    ]);
    expect(requests).toEqual([{ status: 'ENDED', outcome: 'taken' }]);
  });
});

describe('the picture of an event', () => {
  test.each([
    ['the page of events', () => '/events'],
    ['the page of its device', ({ path }: Owner) => path],
    ['the home page', () => '/ring/home'],
  ])('is shown by a click on %s', async (_where, pathOf) => {
    const owner = await sharing(world);
    world.clock.advance(60);
    const event = await happens(owner, 'button_press');
    const address = `${owner.path}/events/${event}/snapshot`;
    await owner.visitor.open(pathOf(owner));
    expect(owner.visitor.page.text).toContain(`formaction="${address}">Show the picture</button>`);

    await owner.visitor.post(address, { _csrf: owner.csrfToken });

    expect(owner.visitor.heading).toBe('Picture of Front Door');
    expect(await asked(owner)).toEqual([{ type: 'at_timestamp', timestamp: now() }]);
    const [picture] = await picturesOf(owner);
    expect(picture?.taken_at.getTime()).toBe(now());

    // From now on it is a link, and Ring is not asked again.
    await owner.visitor.open(pathOf(owner));
    expect(owner.visitor.page.text).toContain(
      `<a href="${owner.path}/snapshots/${picture?.id ?? ''}/view">Show the picture</a>`,
    );
    await owner.visitor.post(address, { _csrf: owner.csrfToken });
    expect(owner.visitor.heading).toBe('Picture of Front Door');
    expect(await asked(owner)).toHaveLength(1);
  });

  test('is shown whatever version of ID Ring has given the event', async () => {
    const owner = await sharing(world);
    const { ringUser, visitor, path, csrfToken } = owner;
    world.clock.advance(60);
    const request_id = '7d0c3f7a-0000-0222-c333-444455556666';
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', request_id });
    await untilApplied(world, ringUser);

    await visitor.post(`${path}/events/${request_id}/snapshot`, { _csrf: csrfToken });

    expect(visitor.heading).toBe('Picture of Front Door');
  });

  describe('that Ring’s history told first', () => {
    /** @returns its address, which the webhook changes */
    async function onlyInHistory(owner: Owner): Promise<string> {
      await untilHistoryIsRead(world);
      world.clock.advance(HOUR);
      await record(owner);
      world.clock.advance(60);
      await silentFor(world, 2 * HOUR);
      await untilHistoryIsRead(world);
      await owner.visitor.open(owner.path);
      const [, address = ''] = /formaction="([^"]+)">Show the picture/.exec(owner.visitor.page.text) ?? [];
      return address;
    }

    const webhookComes = async ({ ringUser }: Owner, timestamp: number) => {
      await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', timestamp, effect: false });
      await untilApplied(world, ringUser);
    };

    test('comes when it is waited for and the webhook comes meanwhile, and where its user waits for it', async () => {
      const owner = await sharing(world);
      const { visitor, csrfToken } = owner;
      const address = await onlyInHistory(owner);
      await world.ring.setFaults([refused('media', 425, 'RECORDING_NOT_READY')]);
      await visitor.post(address, { _csrf: csrfToken });
      expect(visitor.page.text).toContain('The recording is not ready at Ring yet.');

      await webhookComes(owner, now() - 60_000);
      await untilJobsAreDone(world, 'fetch_picture');

      await visitor.open(address);
      expect(visitor.heading).toBe('Picture of Front Door');
    });

    test('is found where it was shown before, also by who asks for it only then', async () => {
      const owner = await sharing(world);
      const address = await onlyInHistory(owner);
      await webhookComes(owner, now() - 60_000);
      await owner.visitor.post(address, { _csrf: owner.csrfToken });
      expect(owner.visitor.heading).toBe('Picture of Front Door');

      const other = await sharing(world);
      const form = { _csrf: other.csrfToken };
      const address2 = address.replace(owner.path, other.path);
      expect((await send(world.url, address2, { cookie: other.visitor.cookie, form })).status).toBe(404);
    });
  });

  test('is not offered where nothing was recorded', async () => {
    const owner = await sharing(world);
    await happens(owner);
    world.clock.advance(1);
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_offline' });
    await untilApplied(world, owner.ringUser);
    await owner.visitor.open('/events');
    expect(owner.visitor.page.text.match(/Show the picture/g)).toHaveLength(1);
  });

  test('is kept though newer pictures are there: those that were found last stay', async () => {
    const owner = await sharing(world);
    const event = await happens(owner);
    await world.sql(
      `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture, stored_at)
       SELECT gen_random_uuid(), $1, $2, $3::timestamptz + n * interval '1 minute', 'image/jpeg', '\\xff', $3
         FROM generate_series(1, 20) n`,
      [owner.ringUser.account_id, owner.device.id, world.clock.now()],
    );
    world.clock.advance(HOUR);

    await owner.visitor.post(`${owner.path}/events/${event}/snapshot`, { _csrf: owner.csrfToken });

    expect(owner.visitor.heading).toBe('Picture of Front Door');
    expect(await picturesOf(owner)).toHaveLength(20);
  });

  test('the same frame by a click, a schedule and an event at the same time is one row', async () => {
    const owner = await sharing(world);
    const { visitor, path, csrfToken } = owner;
    await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
    await switchOn(owner);
    world.clock.advance(HOUR);
    await world.ring.setSettings({ recordingMs: 0 });
    await happens(owner).finally(() => world.ring.setSettings({ recordingMs: 8_000 }));
    await world.ring.setFaults([{ endpoint: 'media', fault: { kind: 'hold' } }]);
    const form = { _csrf: csrfToken };
    const click = send(world.url, `${path}/snapshots`, { cookie: visitor.cookie, form });
    await tick('start due snapshots');
    await passPauses(world);
    await until('all three have asked', async () => (await asked(owner)).length === 3);

    await world.ring.release();
    await click;
    await untilJobsAreDone(world);

    expect(await picturesOf(owner)).toHaveLength(1);
    const outcomes = await world.sql<{ outcome: string; picture_id: string }>(
      'SELECT outcome, picture_id FROM picture_requests WHERE account_id = $1',
      [owner.ringUser.account_id],
    );
    expect(new Set(outcomes.map(({ picture_id }) => picture_id)).size).toBe(1);
    expect(outcomes).toHaveLength(2);
  });
});

describe('pictures of events by themselves', () => {
  test('are fetched once its user has switched that on, a while after the event, and tried again', async () => {
    const owner = await sharing(world);
    await happens(owner);
    expect(await world.sql(`SELECT 1 FROM graphile_worker.jobs WHERE task_identifier = 'fetch_event_picture'`)).toEqual(
      [],
    );
    await switchOn(owner);
    expect(wordsOf(owner.visitor.page.text)).toContain(
      'Pictures of motion and of the doorbell are fetched automatically .',
    );
    await world.ring.setSettings({ recordingReadyAfterMs: 40_000 });

    world.clock.advance(60);
    const event = await happens(owner).finally(() => world.ring.setSettings({ recordingReadyAfterMs: 0 }));

    const [job] = await world.sql<{ wait: number }>(
      `SELECT extract(epoch FROM run_at - now())::float AS wait FROM graphile_worker.jobs WHERE task_identifier = 'fetch_event_picture'`,
    );
    expect(job?.wait).toBeGreaterThan(10);
    await passPauses(world);
    await until('Ring is asked', async () => (await asked(owner)).length === 1);
    world.clock.advance(40);
    await untilJobsAreDone(world, 'fetch_event_picture');
    const [picture] = await picturesOf(owner);
    await owner.visitor.open(`${owner.path}/events/${event}/snapshot`);
    expect(owner.visitor.heading).toBe('Picture of Front Door');
    expect(owner.visitor.page.text).toContain(picture?.id ?? 'none');
  });

  test('are fetched no more once that is switched off', async () => {
    const owner = await sharing(world);
    await switchOn(owner);
    await owner.visitor.submit(`${owner.path}/event-pictures`, { on: 'no' });
    await happens(owner);
    await untilJobsAreDone(world);
    expect(await asked(owner)).toEqual([]);
  });

  test('are fetched no more, either, of events that wait for theirs by then', async () => {
    const owner = await sharing(world);
    await switchOn(owner);
    await happens(owner);
    await owner.visitor.open(owner.path);
    await owner.visitor.submit(`${owner.path}/event-pictures`, { on: 'no' });
    await untilJobsAreDone(world);
    expect(await asked(owner)).toEqual([]);
  });

  test('come at once by a click, and then no second time', async () => {
    const owner = await sharing(world);
    await switchOn(owner);
    world.clock.advance(60);
    const event = await happens(owner);

    await owner.visitor.post(`${owner.path}/events/${event}/snapshot`, { _csrf: owner.csrfToken });

    expect(owner.visitor.heading).toBe('Picture of Front Door');
    await untilJobsAreDone(world, 'fetch_event_picture');
    expect(await asked(owner)).toHaveLength(1);
  });

  test('are not fetched of events that come late', async () => {
    const owner = await sharing(world);
    await switchOn(owner);
    world.clock.advance(HOUR);
    const { ringUser, device } = owner;
    const timestamp = now() - 20 * 60_000;
    await world.ring.sendEvent({ user_id: ringUser.id, device_id: device.id, type: 'motion_detected', timestamp });
    await untilApplied(world, ringUser);
    await untilJobsAreDone(world);
    expect(await asked(owner)).toEqual([]);
  });

  test('are bounded: of a burst at one device five wait, and the others are left to a click', async () => {
    const owner = await sharing(world);
    await switchOn(owner);
    const { ringUser, device } = owner;
    world.clock.advance(60);
    await world.ring.sendEvents(
      Array.from({ length: 8 }, () => ({ user_id: ringUser.id, device_id: device.id, type: 'motion_detected' })),
    );
    await untilApplied(world, ringUser);
    expect(await world.sql('SELECT 1 FROM picture_requests WHERE account_id = $1', [ringUser.account_id])).toHaveLength(
      5,
    );
  });

  test('wait while Ring asks for a pause, and are given up when it lasts', async () => {
    const owner = await sharing(world);
    await switchOn(owner);
    world.clock.advance(60);
    await happens(owner);
    await world.ring.setFaults([once('image', { kind: 'status', status: 429, retryAfterSeconds: 2 })]);
    await passPauses(world);
    await until('Ring is asked', async () => (await asked(owner)).length === 1);
    world.clock.advance(21 * 60);

    await untilJobsAreDone(world, 'fetch_event_picture');

    expect(await asked(owner)).toHaveLength(1);
    expect(
      await world.sql('SELECT outcome FROM picture_requests WHERE account_id = $1', [owner.ringUser.account_id]),
    ).toEqual([{ outcome: 'busy' }]);
    await world.sql(`DELETE FROM rate_limits WHERE key LIKE 'ring_calls:event_pictures%'`);
  });

  test('end with the device: when it is shared again, they are off', async () => {
    const owner = await sharing(world);
    await switchOn(owner);
    world.clock.advance(1);
    const { ringUser, device } = owner;
    for (const type of ['device_removed', 'device_added'] as const) {
      await world.ring.sendEvent({ user_id: ringUser.id, device_id: device.id, type });
      await untilApplied(world, ringUser);
      world.clock.advance(1);
    }
    expect(await world.sql('SELECT has_event_pictures FROM devices WHERE id = $1', [device.id])).toEqual([
      { has_event_pictures: false },
    ]);
  });
});

describe('a picture that is kept', () => {
  async function three(): Promise<{ owner: Owner; pictures: Picture[] }> {
    const owner = await sharing(world);
    for (let count = 0; count < 3; count++) {
      world.clock.advance(60);
      await record(owner);
      await ask(owner);
    }
    return { owner, pictures: await picturesOf(owner) };
  }

  const linkOn = ({ visitor }: Owner, words: string) =>
    new RegExp(`<a [^>]*href="([^"]+)"[^>]*>${words}`).exec(visitor.page.text)?.[1];

  test('has a page with the ones before and after it, and the way back', async () => {
    const { owner, pictures } = await three();
    const pathOf = (picture?: Picture) => `${owner.path}/snapshots/${picture?.id ?? ''}/view`;
    const [newest, middle, oldest] = pictures;
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).toContain(`<a href="${pathOf(newest)}">`);

    await owner.visitor.open(pathOf(middle));

    expect(owner.visitor.heading).toBe('Picture of Front Door');
    expect(owner.visitor.page.text).toContain(`Recorded on <time datetime="${middle?.taken_at.toISOString() ?? ''}">`);
    expect(linkOn(owner, 'Older picture')).toBe(pathOf(oldest));
    expect(linkOn(owner, 'Newer picture')).toBe(pathOf(newest));
    expect(linkOn(owner, 'Close')).toBe(`${owner.path}#pictures`);
    await owner.visitor.open(pathOf(newest));
    expect(linkOn(owner, 'Newer picture')).toBeUndefined();
    await owner.visitor.open(pathOf(oldest));
    expect(linkOn(owner, 'Older picture')).toBeUndefined();
  });

  test('is downloaded as a file that is named for its time', async () => {
    const { owner, pictures } = await three();
    const { id = '', taken_at } = pictures[0] ?? {};
    const address = `${world.url}${owner.path}/snapshots/${id}`;
    const headers = { cookie: owner.visitor.cookie };

    const file = await fetch(`${address}/download`, { headers });

    const time = taken_at?.toISOString().replaceAll(/[:.]/g, '-') ?? '';
    expect(file.headers.get('content-disposition')).toBe(`attachment; filename="picture-${time}.png"`);
    expect(file.headers.get('content-type')).toBe('image/png');
    expect(file.headers.get('cache-control')).toBe('no-store');
    const shown = await fetch(address, { headers });
    expect(shown.headers.get('content-disposition')).toBeNull();
    expect(Buffer.from(await file.arrayBuffer())).toEqual(Buffer.from(await shown.arrayBuffer()));
  });

  test('is deleted by its user, and brought back by no schedule, but by a click', async () => {
    const { owner, pictures } = await three();
    const { visitor, path, csrfToken } = owner;
    const [newest] = pictures;
    await visitor.open(`${path}/snapshots/${newest?.id ?? ''}/view`);

    await visitor.submit(`${path}/snapshots/${newest?.id ?? ''}/delete`);

    expect(visitor.heading).toBe('Front Door');
    expect(await picturesOf(owner)).toEqual(pictures.slice(1));
    expect((await send(world.url, `${path}/snapshots/${newest?.id ?? ''}`, { cookie: visitor.cookie })).status).toBe(
      404,
    );
    await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
    world.clock.advance(HOUR);
    await tick('start due snapshots');
    await until('the schedule has run', async () => {
      const runs = await world.sql('SELECT 1 FROM scheduled_operations WHERE last_run_at IS NOT NULL');
      return runs.length > 0;
    });
    expect(await picturesOf(owner)).toEqual(pictures.slice(1));
    await ask(owner);
    expect((await picturesOf(owner)).map(({ taken_at }) => taken_at)).toEqual(pictures.map(({ taken_at }) => taken_at));
  });

  test('is nobody else’s to see, to download or to delete', async () => {
    const { owner, pictures } = await three();
    const other = await sharing(world);
    const { cookie } = other.visitor;
    const address = `snapshots/${pictures[0]?.id ?? ''}`;
    for (const path of [owner.path, other.path]) {
      for (const part of ['view', 'download']) {
        expect((await send(world.url, `${path}/${address}/${part}`, { cookie })).status).toBe(404);
      }
    }
    const form = { _csrf: other.csrfToken };
    expect((await send(world.url, `${owner.path}/${address}/delete`, { cookie, form })).status).toBe(404);
    expect((await send(world.url, `${other.path}/${address}/delete`, { cookie, form })).status).toBe(303);
    expect(await picturesOf(owner)).toEqual(pictures);
  });
});
