import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { send } from '../support/clients/http.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { inboxOf, untilApplied, untilIdle, untilProcessed } from '../support/features/inbox.js';
import { once } from '../support/features/linking.js';
import { refreshesOf } from '../support/features/tokens.js';
import { passPauses, untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { tick, tickAndFinish } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import type { EventType, Fault } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const RING_TIMEOUT_MS = scaled(1_500);
const HOUR = 3_600;

let world: World;
beforeAll(async () => {
  world = await startWorld({ ringTimeoutMs: RING_TIMEOUT_MS });
});
afterEach(async () => {
  // Time goes on for all tests: the schedule of one would run in the next, and meet its faults.
  await world.sql('DELETE FROM scheduled_operations');
  await untilJobsAreDone(world, 'take_snapshot');
  await world.ring.setFaults([]);
  recording.clear();
});
afterAll(() => world.stop());

type Schedule = Tables['scheduled_operations'];
type Picture = Tables['snapshots'];

function schedulesOf({ ringUser }: Owner, on = world): Promise<Schedule[]> {
  return on.sql<Schedule>('SELECT * FROM scheduled_operations WHERE account_id = $1 ORDER BY created_at, id', [
    ringUser.account_id,
  ]);
}

async function scheduleOf(owner: Owner, on = world): Promise<Schedule> {
  const [schedule] = await schedulesOf(owner, on);
  if (schedule === undefined) throw new Error('nothing is scheduled');
  return schedule;
}

function picturesOf({ ringUser }: Owner): Promise<Picture[]> {
  return world.sql<Picture>('SELECT * FROM snapshots WHERE account_id = $1 ORDER BY taken_at DESC, id', [
    ringUser.account_id,
  ]);
}

async function callsOf({ ringUser }: Owner, path: RegExp) {
  const requests = await world.ring.requests();
  return requests.filter((one) => one.account_id === ringUser.account_id && path.test(one.path));
}

const ASKED = /\/media\/image\/download$/;
const DOWNLOADED = /^\/v1\/download/;
const ABOUT_DEVICE = /^\/v1\/devices\/[^/]+$/;

async function schedule({ visitor, path }: Owner, fields: Record<string, string> = {}): Promise<void> {
  await visitor.open(path);
  await visitor.submit(`${path}/scheduled-operations`, { frequency: 'HOURLY', ...fields });
  expect(visitor.page.status).toBe(200);
}

/** The owners whose devices record something each hour. */
const recording = new Set<Owner>();

/** A user with an hourly schedule, and a device that records something each hour. */
async function scheduled(): Promise<Owner> {
  const owner = await sharing(world);
  await schedule(owner);
  recording.add(owner);
  return owner;
}

/** The device records a frame at this moment. */
function record({ ringUser, device }: Owner): Promise<unknown> {
  const now = world.clock.now().getTime();
  return world.ring.record({ user_id: ringUser.id, device_id: device.id, start: now, end: now, ready_at: now });
}

/** Lets time go on to the next run, and runs the periodic task. */
async function nextHour(): Promise<void> {
  world.clock.advance(HOUR);
  for (const owner of recording) await record(owner);
  await tick('start due snapshots');
}

/** Waits until the run that has just begun is over, with or without a picture. */
async function untilRun(owner: Owner): Promise<Schedule> {
  const now = world.clock.now();
  await until('the run has begun', async () => ((await scheduleOf(owner)).next_run_at ?? now) > now);
  await until('the run is over', async () => {
    if ((await jobsOf(owner)).length === 0) return true;
    await passPauses(world);
    return false;
  });
  return scheduleOf(owner);
}

function jobsOf(owner: Owner): Promise<{ attempts: number }[]> {
  return world.sql<{ attempts: number }>(
    `SELECT attempts FROM graphile_worker.jobs JOIN scheduled_operations
            ON key = 'take_snapshot:' || scheduled_operations.id WHERE account_id = $1`,
    [owner.ringUser.account_id],
  );
}

/** Sends a webhook that changes nothing at Ring. */
const webhook = ({ ringUser }: Owner, type: EventType) =>
  world.ring.sendEvent({ user_id: ringUser.id, type, effect: false, timestamp: world.clock.now().getTime() });

function insertPictures({ ringUser, device }: Owner, count: number): Promise<unknown> {
  return world.sql(
    `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
     SELECT gen_random_uuid(), $1, $2, $3::timestamptz - n * interval '1 hour', 'image/jpeg', '\\xff'
       FROM generate_series(1, $4::int) n`,
    [ringUser.account_id, device.id, world.clock.now(), count],
  );
}

describe('a scheduled picture', () => {
  test('is fetched when it is due, kept, and shown to its user', async () => {
    const owner = await scheduled();
    const { next_run_at: due } = await scheduleOf(owner);
    expect(due).toEqual(new Date(world.clock.now().getTime() + HOUR * 1_000));
    await tickAndFinish('start due snapshots', world.url);
    expect(await jobsOf(owner)).toEqual([]);

    await nextHour();

    expect(await untilRun(owner)).toMatchObject({
      status: 'ACTIVE',
      last_run_at: due,
      last_error: null,
      next_run_at: new Date(world.clock.now().getTime() + HOUR * 1_000),
    });
    const [picture, ...others] = await picturesOf(owner);
    expect(others).toEqual([]);
    expect(picture).toMatchObject({ content_type: 'image/png', taken_at: due });
    expect(picture?.picture.subarray(1, 4).toString()).toBe('PNG');
    const address = `${owner.path}/snapshots/${picture?.id ?? ''}`;
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).toContain(`src="${address}"`);

    const shown = await fetch(world.url + address, { headers: { cookie: owner.visitor.cookie } });
    expect(shown.status).toBe(200);
    expect(shown.headers.get('content-type')).toBe('image/png');
    expect(shown.headers.get('cache-control')).toBe('no-store');
    expect(shown.headers.get('x-content-type-options')).toBe('nosniff');
    expect(Buffer.from(await shown.arrayBuffer())).toEqual(picture?.picture);
  });

  test('is fetched without the token that asked for it', async () => {
    const owner = await scheduled();

    await nextHour();
    await untilRun(owner);

    expect(await callsOf(owner, DOWNLOADED)).toMatchObject([{ method: 'GET', status: 200, authorization: 'absent' }]);
  });

  test('is for its user alone', async () => {
    const [owner, other] = [await scheduled(), await sharing(world)];
    await nextHour();
    await untilRun(owner);
    const [picture] = await picturesOf(owner);
    const address = `snapshots/${picture?.id ?? ''}`;
    const { cookie } = other.visitor;

    expect((await send(world.url, `${owner.path}/${address}`, { cookie })).status).toBe(404);
    expect((await send(world.url, `${other.path}/${address}`, { cookie })).status).toBe(404);
    const signedOut = await send(world.url, `${owner.path}/${address}`);
    expect([signedOut.status, signedOut.location]).toEqual([303, '/ring/home?sign-in']);
  });

  test.each(['nonsense', randomUUID()])('that does not exist (%s) is 404', async (id) => {
    const { path, visitor } = await sharing(world);
    expect((await send(world.url, `${path}/snapshots/${id}`, { cookie: visitor.cookie })).status).toBe(404);
    expect((await send(world.url, `${path}/snapshots/${id}`, { method: 'DELETE' })).status).toBe(405);
  });

  test('is one of the newest 20: the 21st makes the oldest go', async () => {
    const [owner, other] = [await scheduled(), await sharing(world)];
    await insertPictures(owner, 20);
    await insertPictures(other, 20);
    const before = await picturesOf(owner);

    await nextHour();
    await untilRun(owner);

    const after = await picturesOf(owner);
    expect(after).toHaveLength(20);
    expect(after.slice(1)).toEqual(before.slice(0, 19));
    expect(await picturesOf(other)).toHaveLength(20);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text.match(/<img /g)).toHaveLength(8);
    expect(owner.visitor.page.text).toContain('The 12 before these follow');
  });

  test('is kept once when several schedules find the same frame at once', async () => {
    const owner = await scheduled();
    for (let more = 0; more < 5; more++) await schedule(owner);
    await insertPictures(owner, 20);
    await world.ring.setFaults([{ endpoint: 'media', fault: { kind: 'delay', ms: 300 }, times: 6 }]);

    await nextHour();
    await untilRun(owner);
    await untilJobsAreDone(world, 'take_snapshot');

    expect(await callsOf(owner, DOWNLOADED)).toHaveLength(6);
    expect((await picturesOf(owner)).map(({ content_type }) => content_type)).toEqual([
      'image/png',
      ...Array<string>(19).fill('image/jpeg'),
    ]);
    expect((await schedulesOf(owner)).map(({ last_error }) => last_error)).toEqual(Array(6).fill(null));
  });

  test('is fetched once by two instances', async () => {
    const owner = await scheduled();
    await world.startAnother();

    await nextHour();
    await untilRun(owner);
    await tickAndFinish('start due snapshots', world.url);
    await untilRun(owner);

    expect(await picturesOf(owner)).toHaveLength(1);
    expect(await callsOf(owner, ASKED)).toHaveLength(1);
  });

  test('is fetched once after periodic tasks that stood still for hours, and the rhythm stays', async () => {
    const owner = await scheduled();
    const { next_run_at: first } = await scheduleOf(owner);

    world.clock.advance(3.3 * HOUR);
    await record(owner);
    await tick('start due snapshots');
    const { next_run_at: next } = await untilRun(owner);

    expect(await picturesOf(owner)).toHaveLength(1);
    expect(next).toEqual(new Date((first?.getTime() ?? 0) + 3 * HOUR * 1_000));
  });

  test('is not kept twice by a run that is repeated after a crash', async () => {
    const owner = await scheduled();
    await nextHour();
    const { id } = await untilRun(owner);
    const [picture] = await picturesOf(owner);

    const payload = { operationId: id, snapshotId: picture?.id, attempt: 1 };
    await world.sql(`SELECT graphile_worker.add_job('take_snapshot', $1::json)`, [JSON.stringify(payload)]);
    await untilJobsAreDone(world, 'take_snapshot');

    expect(await picturesOf(owner)).toEqual([picture]);
    expect(await callsOf(owner, ASKED)).toHaveLength(1);
  });
});

describe('a picture that can’t be fetched', () => {
  const away: Fault['fault'] = { kind: 'status', status: 503 };

  test.each<[what: string, fault: Fault]>([
    ['is away', once('image', away)],
    ['is too busy', once('image', { kind: 'status', status: 429, retryAfterSeconds: 1 })],
    ['hangs up', once('image', { kind: 'reset' })],
    ['never answers', once('image', { kind: 'silence' })],
    ['loses the download', once('media', { kind: 'reset' })],
    ['fails the download', once('media', { kind: 'status', status: 500 })],
  ])('because Ring %s is tried again', async (_what, fault) => {
    const owner = await scheduled();
    await world.ring.setFaults([fault]);

    await nextHour();

    expect(await untilRun(owner)).toMatchObject({ last_error: null });
    expect(await picturesOf(owner)).toHaveLength(1);
    expect(await callsOf(owner, ASKED)).toHaveLength(2);
  });

  const inRingsWords = (code: number): Fault['fault'] => ({
    kind: 'body',
    status: code,
    contentType: 'application/vnd.api+json',
    body: JSON.stringify({ errors: [{ status: `${code}`, title: 'Not Found', detail: 'There is no such thing.' }] }),
  });
  test.each<[what: string, fault: Fault['fault']]>([
    ['401', { kind: 'status', status: 401 }],
    ['401 in Ring’s words', inRingsWords(401)],
    ['403 in Ring’s words', inRingsWords(403)],
    ['404', { kind: 'status', status: 404 }],
    ['404 in Ring’s words', inRingsWords(404)],
  ])(
    'because its store says %s costs neither the token nor the device, and Ring is asked once a try',
    async (_, fault) => {
      const owner = await scheduled();
      const asked = await callsOf(owner, ABOUT_DEVICE);
      await world.ring.setFaults([{ endpoint: 'media', fault }]);

      await nextHour();

      const { id } = await untilRun(owner);
      const tries = world.log.filter(
        (line) => line.includes(id) && line.includes('a schedule has brought no picture'),
      ).length;
      expect(tries).toBeGreaterThan(0);
      expect(await callsOf(owner, ASKED)).toHaveLength(tries);
      expect(await callsOf(owner, DOWNLOADED)).toHaveLength(tries);
      expect(await refreshesOf(world, owner.ringUser)).toEqual([]);
      await untilJobsAreDone(world, 'fetch_device');
      expect(await callsOf(owner, ABOUT_DEVICE)).toEqual(asked);
      expect(await world.sql('SELECT removed_at FROM devices WHERE id = $1', [owner.device.id])).toEqual([
        { removed_at: null },
      ]);
    },
  );

  test('for a while is left to the next run', async () => {
    const owner = await scheduled();
    await world.ring.setFaults([{ endpoint: 'image', fault: away }]);

    await nextHour();

    expect(await untilRun(owner)).toMatchObject({
      status: 'ACTIVE',
      last_error: 'unavailable 503 SERVER_BUSY',
      last_outcome: 'busy',
      last_run_at: world.clock.now(),
    });
    expect(await callsOf(owner, ASKED)).toHaveLength(6);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).toContain('Last time: Ring is busy right now. We’ll try again next time.');

    await world.ring.setFaults([]);
    await nextHour();
    expect(await untilRun(owner)).toMatchObject({ last_error: null });
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  const png = { status: 200, contentType: 'image/png' };
  test.each<[what: string, fault: Fault, error: string]>([
    ['of more than 5 MB', once('media', { kind: 'large-body', ...png, sizeBytes: 5_000_001 }), 'malformed 200'],
    [
      'of more than 5 MB that does not say so',
      once('media', { kind: 'large-body', ...png, sizeBytes: 8_000_000, announced: false }),
      'malformed 200',
    ],
    [
      'that is a page',
      once('media', { kind: 'body', status: 200, contentType: 'text/html', body: '<script>alert(1)</script>' }),
      'malformed 200',
    ],
    [
      'that is a drawing with scripts',
      once('media', { kind: 'body', status: 200, contentType: 'image/svg+xml', body: '<svg/>' }),
      'encrypted',
    ],
    ['that is empty', once('media', { kind: 'body', ...png, body: '' }), 'malformed 200'],
    [
      'that is somewhere else again, which is not told',
      once('media', { kind: 'status', status: 302 }),
      'malformed 302',
    ],
    ['whose place is not told', once('image', { kind: 'status', status: 302 }), 'malformed 302'],
    ['that comes without a redirect', once('image', { kind: 'body', ...png, body: 'picture' }), 'malformed 200'],
    ['that is denied', once('image', { kind: 'status', status: 403 }), 'rejected 403 REQUEST_FORBIDDEN'],
    [
      'of a device that Ring does not know',
      once('image', { kind: 'status', status: 404 }),
      'rejected 404 DEVICE_NOT_FOUND',
    ],
  ])('%s is not stored, and not asked for again before the next run', async (_what, fault, error) => {
    const owner = await scheduled();
    await world.ring.setFaults([fault]);

    await nextHour();

    expect(await untilRun(owner)).toMatchObject({ status: 'ACTIVE', last_error: error });
    expect(await picturesOf(owner)).toEqual([]);
    expect(await callsOf(owner, ASKED)).toHaveLength(1);

    await nextHour();
    expect(await untilRun(owner)).toMatchObject({ last_error: null });
    expect(await picturesOf(owner)).toHaveLength(1);
  });

  test('of just 5 MB is read whole', async () => {
    const owner = await scheduled();
    await world.ring.setFaults([once('media', { kind: 'large-body', ...png, sizeBytes: 5_000_000 })]);

    await nextHour();

    // No bytes of a picture are among these.
    expect(await untilRun(owner)).toMatchObject({ last_error: 'encrypted' });
  });
});

describe('a device that is offline', () => {
  test('has its schedules paused, and they go on with the next run once it is online', async () => {
    const owner = await scheduled();
    const { next_run_at: first } = await scheduleOf(owner);

    world.clock.advance(1);
    await webhook(owner, 'device_offline');
    await until('it is paused', async () => (await scheduleOf(owner)).status === 'PAUSED');
    expect(await scheduleOf(owner)).toMatchObject({ pause_reason: 'OFFLINE', next_run_at: null });
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).toContain('Paused while the device is offline.');

    world.clock.advance(3 * HOUR);
    await tick('start due snapshots');
    await webhook(owner, 'device_online');
    await until('it goes on', async () => (await scheduleOf(owner)).status === 'ACTIVE');

    expect(await scheduleOf(owner)).toMatchObject({
      pause_reason: null,
      next_run_at: new Date((first?.getTime() ?? 0) + 3 * HOUR * 1_000),
    });
    expect(await callsOf(owner, ASKED)).toEqual([]);
  });

  test('goes on with nothing that its user paused', async () => {
    const owner = await scheduled();
    await world.sql(
      `UPDATE scheduled_operations SET status = 'PAUSED', pause_reason = 'USER', next_run_at = NULL WHERE account_id = $1`,
      [owner.ringUser.account_id],
    );

    world.clock.advance(1);
    await webhook(owner, 'device_offline');
    world.clock.advance(1);
    await webhook(owner, 'device_online');
    await until('both are processed', async () => {
      const left = await world.sql(`SELECT 1 FROM webhook_events WHERE status <> 'PROCESSED' AND account_id = $1`, [
        owner.ringUser.account_id,
      ]);
      return left.length === 0;
    });

    expect(await scheduleOf(owner)).toMatchObject({ status: 'PAUSED', pause_reason: 'USER' });
  });

  test('can have new schedules, which wait for it', async () => {
    const owner = await sharing(world, { online: false });

    await schedule(owner);

    expect(await scheduleOf(owner)).toMatchObject({ status: 'PAUSED', pause_reason: 'OFFLINE', next_run_at: null });
  });
});

describe('a picture that is under way', () => {
  const HELD = once('media', { kind: 'hold' });

  async function underWay(): Promise<Owner> {
    const owner = await scheduled();
    await world.ring.setFaults([HELD]);
    await nextHour();
    await until('the download has begun', async () => (await callsOf(owner, DOWNLOADED)).length > 0);
    return owner;
  }

  async function untilOver(): Promise<void> {
    await world.ring.release();
    await untilJobsAreDone(world, 'take_snapshot');
  }

  test.each([
    ['goes offline', 'device_offline'],
    ['is removed', 'device_removed'],
    ['loses its link', 'app_integration_removed'],
  ] as const)('when its device %s is dropped', async (_what, type) => {
    const owner = await underWay();

    await webhook(owner, type);
    await untilApplied(world, owner.ringUser);
    await untilOver();

    expect(await callsOf(owner, DOWNLOADED)).toMatchObject([{ status: 200 }]);
    expect(await picturesOf(owner)).toEqual([]);
  });

  test('when its schedule is deleted is dropped', async () => {
    const owner = await underWay();
    const { id } = await scheduleOf(owner);
    await owner.visitor.open(owner.path);

    await owner.visitor.submit(`${owner.path}/scheduled-operations/${id}/delete`);
    await untilOver();

    expect(await picturesOf(owner)).toEqual([]);
    expect(await schedulesOf(owner)).toEqual([]);
  });

  test('when the device’s row is removed behind its back is dropped', async () => {
    const owner = await underWay();

    await world.sql('DELETE FROM devices WHERE account_id = $1', [owner.ringUser.account_id]);
    await untilOver();

    expect(await picturesOf(owner)).toEqual([]);
  });

  test('and fails after its schedule was paused is not tried again', async () => {
    const owner = await scheduled();
    await world.ring.setFaults([once('image', { kind: 'silence' })]);
    await nextHour();
    await until('Ring is asked', async () => (await callsOf(owner, ASKED)).length > 0);

    await webhook(owner, 'device_offline');
    await untilApplied(world, owner.ringUser);
    await untilOver();

    expect(await callsOf(owner, ASKED)).toHaveLength(1);
    expect(await scheduleOf(owner)).toMatchObject({ status: 'PAUSED', last_error: null });
  });
});

describe('a picture that is due', () => {
  test.each([
    ['whose device is offline', 'UPDATE devices SET online = false WHERE account_id = $1'],
    ['whose device was removed', 'DELETE FROM devices WHERE account_id = $1'],
    ['whose link is not completed', `UPDATE account_links SET status = 'REAUTH_REQUIRED' WHERE account_id = $1`],
  ])('%s is not asked for', async (_what, change) => {
    const owner = await scheduled();
    await world.sql(change, [owner.ringUser.account_id]);

    await nextHour();
    await untilRun(owner);

    expect(await callsOf(owner, ASKED)).toEqual([]);
    expect(await scheduleOf(owner)).toMatchObject({ status: 'ACTIVE', last_run_at: null });
  });
});

describe('a daily picture', () => {
  let later: World;
  beforeAll(async () => {
    later = await startWorld();
  });
  afterAll(() => later.stop());

  /** The first runs of a daily schedule that is made at `from`. Time only goes forward. */
  async function runsOf(
    owner: Owner,
    wish: { from: string; at: string; zone: string; times: number },
  ): Promise<string[]> {
    // Ring can't be asked with tokens that are years old. All work is done before time goes on, and nothing is old
    // after.
    await untilIdle(later);
    goTo(wish.from);
    await later.sql('UPDATE devices SET fetched_at = $2 WHERE account_id = $1', [owner.ringUser.account_id, wish.from]);
    await schedule(owner, { frequency: 'DAILY', time_of_day: wish.at, time_zone: wish.zone });
    const { id } = (await schedulesOf(owner, later)).at(-1) ?? { id: '' };
    const runs: string[] = [];
    for (;;) {
      const next = await nextRunOf(id);
      runs.push(next.toISOString());
      if (runs.length === wish.times) return runs;
      // A job that is storing a picture locks the schedule, and the periodic task would leave it to its next run.
      await untilJobsAreDone(later, 'take_snapshot');
      goTo(next.toISOString());
      await tick('start due snapshots');
      await until('the next run is set', async () => (await nextRunOf(id)) > next);
    }
  }

  async function nextRunOf(id: string): Promise<Date> {
    const [found] = await later.sql<Pick<Tables['scheduled_operations'], 'next_run_at'>>(
      'SELECT next_run_at FROM scheduled_operations WHERE id = $1',
      [id],
    );
    return found?.next_run_at ?? new Date(0);
  }

  function goTo(time: string): void {
    later.clock.advance((new Date(time).getTime() - later.clock.now().getTime()) / 1_000);
  }

  test.each([
    [
      'New York in spring, at an hour that is skipped: an hour later by the wall clock, once',
      { from: '2031-03-08T12:00:00Z', at: '02:30', zone: 'America/New_York', times: 3 },
      ['2031-03-09T07:30:00.000Z', '2031-03-10T06:30:00.000Z', '2031-03-11T06:30:00.000Z'],
    ],
    [
      'New York in spring, in the morning: the same time by the wall clock',
      { from: '2031-03-07T13:00:00Z', at: '07:30', zone: 'America/New_York', times: 3 },
      ['2031-03-08T12:30:00.000Z', '2031-03-09T11:30:00.000Z', '2031-03-10T11:30:00.000Z'],
    ],
    [
      'New York in autumn, at an hour that comes twice: the second one, once',
      { from: '2031-11-01T12:00:00Z', at: '01:30', zone: 'America/New_York', times: 3 },
      ['2031-11-02T06:30:00.000Z', '2031-11-03T06:30:00.000Z', '2031-11-04T06:30:00.000Z'],
    ],
    [
      'Berlin in autumn, in the morning: the same time by the wall clock',
      { from: '2031-10-25T06:00:00Z', at: '07:30', zone: 'Europe/Berlin', times: 3 },
      ['2031-10-26T06:30:00.000Z', '2031-10-27T06:30:00.000Z', '2031-10-28T06:30:00.000Z'],
    ],
    [
      'Berlin in spring, at the minute after midnight',
      { from: '2031-03-28T22:00:00Z', at: '00:00', zone: 'Europe/Berlin', times: 4 },
      ['2031-03-28T23:00:00.000Z', '2031-03-29T23:00:00.000Z', '2031-03-30T22:00:00.000Z', '2031-03-31T22:00:00.000Z'],
    ],
    [
      'Auckland, a day ahead of UTC',
      { from: '2031-06-01T00:00:00Z', at: '23:59', zone: 'Pacific/Auckland', times: 2 },
      ['2031-06-01T11:59:00.000Z', '2031-06-02T11:59:00.000Z'],
    ],
    [
      'a time that is just now: tomorrow',
      { from: '2031-06-01T07:30:00Z', at: '07:30', zone: 'UTC', times: 2 },
      ['2031-06-02T07:30:00.000Z', '2031-06-03T07:30:00.000Z'],
    ],
    [
      'an offset that reads the other way round',
      { from: '2031-06-01T00:00:00Z', at: '12:00', zone: 'Etc/GMT+2', times: 1 },
      ['2031-06-01T14:00:00.000Z'],
    ],
  ])('in %s', async (_what, wish, runs) => {
    const owner = await sharing(later);
    expect(await runsOf(owner, wish)).toEqual(runs);
  });

  test('in a zone that Postgres knows no more is left alone, and stops no other', async () => {
    const [owner, other] = await Promise.all([sharing(later), sharing(later)]);
    const wish = { frequency: 'DAILY', time_of_day: '07:30', time_zone: 'Europe/Berlin' };
    for (const one of [owner, other]) await schedule(one, wish);
    const { account_id } = owner.ringUser;
    await later.sql(`UPDATE scheduled_operations SET time_zone = 'Europe/Bygone' WHERE account_id = $1`, [account_id]);
    const left = await scheduleOf(owner, later);
    const { id } = await scheduleOf(other, later);

    later.clock.advance(24 * HOUR);
    await tick('start due snapshots');
    await until('the next run is set', async () => (await nextRunOf(id)) > later.clock.now());
    await untilJobsAreDone(later, 'take_snapshot');

    expect(await scheduleOf(other, later)).toMatchObject({ last_run_at: later.clock.now() });
    expect(await scheduleOf(owner, later)).toEqual(left);
    expect(later.log.filter((line) => line.includes('a periodic task failed'))).toEqual([]);
  });

  test('in a zone that Postgres knows no more keeps its device from nothing', async () => {
    const owner = await sharing(later);
    await schedule(owner, { frequency: 'DAILY', time_of_day: '07:30', time_zone: 'Europe/Berlin' });
    const { account_id, id: user_id } = owner.ringUser;
    await later.sql(`UPDATE scheduled_operations SET time_zone = 'Europe/Bygone' WHERE account_id = $1`, [account_id]);

    for (const type of ['device_offline', 'device_online']) {
      await later.ring.sendEvent({ user_id, type, device_id: owner.device.id });
      await untilProcessed(later, owner.ringUser);
    }

    expect(await inboxOf(later, owner.ringUser)).toMatchObject([{ attempts: 0 }, { attempts: 0 }]);
    expect(await scheduleOf(owner, later)).toMatchObject({ status: 'PAUSED' });
  });

  test.each(['CET', 'EST', 'MST', 'HST', 'EST5EDT', 'PST8PDT', 'IST', 'GB', 'ROC', 'Z', 'GMT+0', 'UTC+5', '+02:00'])(
    'in %s is not to be had: that is no place',
    async (zone) => {
      const owner = await sharing(later);
      await owner.visitor.open(owner.path);

      const fields = { frequency: 'DAILY', time_of_day: '12:00', time_zone: zone };
      await owner.visitor.submit(`${owner.path}/scheduled-operations`, fields);

      expect(owner.visitor.page.status).toBe(400);
      expect(owner.visitor.page.text).toContain('Choose a time zone from the list.');
      expect(await schedulesOf(owner, later)).toEqual([]);
    },
  );

  test('after periodic tasks that stood still for days is taken once, and next at its time', async () => {
    const owner = await sharing(later);
    await runsOf(owner, { from: '2032-03-10T06:00:00Z', at: '07:30', zone: 'Europe/Berlin', times: 1 });

    goTo('2032-03-30T12:00:00Z');
    await tick('start due snapshots');

    const { id } = await scheduleOf(owner, later);
    const next = await until('the next run is set', async () => {
      const run = await nextRunOf(id);
      return run > later.clock.now() && run;
    });
    expect(next.toISOString()).toBe('2032-03-31T05:30:00.000Z');
  });
});
