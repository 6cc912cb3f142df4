import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { createCallBudget, HISTORY_SHARE } from '../../src/tokens/call-budget.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { eventsOn, linkOn } from '../support/features/events.js';
import { silentFor, storedEvents, untilHistoryIsRead } from '../support/features/history.js';
import { untilProcessed } from '../support/features/inbox.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { arriving, installed, linked, linksOf, once, untilLink } from '../support/features/linking.js';
import type { Fault, NewRecording, RingRequest } from '../support/worlds/ring.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterEach(async () => {
  await world.ring.release();
  await world.ring.setSettings({
    historyPageSize: 50,
    historyNext: 'whole',
    historyEmptyPage: false,
    historyStartOffMs: 0,
  });
});
afterAll(() => world.stop());

const now = (): number => world.clock.now().getTime();

/** A user whose history is read up to now, an hour after linking. */
async function owner(): Promise<Owner> {
  const one = await sharing(world);
  await untilHistoryIsRead(world);
  world.clock.advance(3_600);
  return one;
}

/** A device records, and no webhook tells of it. */
const record = (
  { ringUser, device }: Pick<Owner, 'ringUser' | 'device'>,
  start: number,
  more: Partial<NewRecording> = {},
) => world.ring.record({ user_id: ringUser.id, device_id: device.id, start, end: start + 1_000, ...more });

async function missed(): Promise<void> {
  await silentFor(world, 2 * 3_600);
  await untilHistoryIsRead(world);
}

const addJob = (task: string, payload: object): Promise<unknown> =>
  world.sql('SELECT graphile_worker.add_job($1, $2::json)', [task, JSON.stringify(payload)]);

/** Time is missed of one account alone, since its user shared it. */
const missedBy = ({ ringUser }: Owner): Promise<unknown> =>
  addJob('note_missed_time', { accountId: ringUser.account_id, lostSince: null });

async function historyCalls({ device }: Owner): Promise<RingRequest[]> {
  const requests = await world.ring.requests();
  return requests.filter(({ path }) => path === `/v1/history/devices/${device.id}/events`);
}

const motion = (device_id: string, at: number, subtype: string | null = null) => ({
  device_id,
  type: 'motion_detected',
  subtype,
  at,
});
const press = (device_id: string, at: number) => ({ device_id, type: 'button_press', subtype: null, at });

describe('Ring’s history is read', () => {
  test('right after linking, since the consent', async () => {
    const user = await world.ring.createUser({ devices: [{ name: 'Front Door' }] });
    const [device = { id: '' }] = user.devices;
    const before = now();
    await world.ring.record({ user_id: user.id, start: before - 60_000, end: before - 50_000 });
    world.clock.advance(60);
    await installed(world, user);
    world.clock.advance(60);
    const since = now();
    await world.ring.record({ user_id: user.id, start: since, end: since + 1_000 });
    await world.ring.record({ user_id: user.id, kind: 'ding', start: since + 1, end: since + 1_000 });
    const visitor = await arriving(world, user);
    await visitor.submit('/sign-up', {
      email: `${randomUUID()}@example.com`,
      password: 'correct horse battery staple',
    });
    await untilLink(world, user, 'COMPLETED');

    await until('the history is merged', async () => (await storedEvents(world, user)).length === 2);
    expect(await storedEvents(world, user)).toEqual([motion(device.id, since), press(device.id, since + 1)]);
  });

  test('after nobody has served for more than a minute, and not after less', async () => {
    const one = await owner();
    await record(one, now() - 1_000);
    const calls = (await historyCalls(one)).length;
    await silentFor(world, 50);
    await untilHistoryIsRead(world);
    expect(await historyCalls(one)).toHaveLength(calls);
    expect(await storedEvents(world, one.ringUser)).toEqual([]);

    await silentFor(world, 61);
    await untilHistoryIsRead(world);
    expect(await storedEvents(world, one.ringUser)).toEqual([motion(one.device.id, now() - 1_000)]);
  });

  test('of all accounts, however many there are', async () => {
    const one = await owner();
    const count = 230;
    // Links that have to be made again: Ring is not asked for their sakes.
    await world.sql(
      `INSERT INTO account_links (id, user_id, account_id, token_id, account_identifier, nonce_digest, status, created_at, updated_at)
       SELECT gen_random_uuid(), user_id, account_id || '.' || n, token_id, account_identifier, decode(md5(n::text), 'hex'),
              'REAUTH_REQUIRED', created_at, updated_at
         FROM account_links, generate_series(1, $2) AS n WHERE account_id = $1`,
      [one.ringUser.account_id, count],
    );
    await world.sql(
      `INSERT INTO device_histories (account_id, device_id)
       SELECT account_id, 'device' FROM account_links WHERE account_id LIKE $1 || '.%'`,
      [one.ringUser.account_id],
    );

    await missed();

    const noted = await world.sql(
      `SELECT 1 FROM device_histories WHERE account_id LIKE $1 || '.%' AND missing_since IS NOT NULL`,
      [one.ringUser.account_id],
    );
    expect(noted).toHaveLength(count);
    await world.sql(`DELETE FROM account_links WHERE account_id LIKE $1 || '.%'`, [one.ringUser.account_id]);
    await world.sql(`DELETE FROM device_histories WHERE account_id LIKE $1 || '.%'`, [one.ringUser.account_id]);
  });

  test('also after Postgres’ clock was ahead, and is right again', async () => {
    await world.sql(`INSERT INTO service_presence (seen_at) VALUES (now() + interval '1 hour')
                     ON CONFLICT (is_only) DO UPDATE SET seen_at = excluded.seen_at`);
    await tick('note presence');
    await until('the wrong time is gone', async () => {
      const seen = await world.sql('SELECT 1 FROM service_presence WHERE seen_at <= now()');
      return seen.length === 1;
    });
  });

  test('after a link was made again with a new pair', async () => {
    const one = await owner();
    await world.sql(`UPDATE account_links SET status = 'REAUTH_REQUIRED' WHERE account_id = $1`, [
      one.ringUser.account_id,
    ]);
    await installed(world, one.ringUser);
    world.clock.advance(60);
    await record(one, now());
    await arriving(world, one.ringUser, one.visitor);
    await one.visitor.submit('/ring/link');
    await until('the link is whole', async () =>
      (await linksOf(world, one.ringUser)).every(({ status }) => status === 'COMPLETED'),
    );

    await until('the history is merged', async () => (await storedEvents(world, one.ringUser)).length === 1);
  });

  test('back to the newest event that was known, page by page, until an empty page, with Ring’s filter', async () => {
    await world.ring.setSettings({ historyPageSize: 2, historyNext: 'without-filter', historyEmptyPage: true });
    const one = await owner();
    const begin = now();
    for (let minute = 0; minute < 5; minute++) await record(one, begin + minute * 60_000);
    world.clock.advance(600);
    const before = (await historyCalls(one)).length;
    await missed();
    expect((await storedEvents(world, one.ringUser)).map(({ at }) => at)).toEqual(
      [0, 1, 2, 3, 4].map((minute) => begin + minute * 60_000),
    );
    const calls = (await historyCalls(one)).slice(before);
    // Three pages with something in them, and the empty one.
    expect(calls).toHaveLength(4);

    // The page with the newest known event and the one behind it, for the same event may stand there some seconds off.
    await record(one, now());
    world.clock.advance(600);
    const between = (await historyCalls(one)).length;
    await addJob('note_missed_time', {
      accountId: one.ringUser.account_id,
      lostSince: world.clock.now().toISOString(),
    });
    await untilHistoryIsRead(world);
    expect((await historyCalls(one)).slice(between)).toHaveLength(2);
    expect(await storedEvents(world, one.ringUser)).toHaveLength(6);
  });

  test('by no more than a fifth of the 100 calls a second that Ring allows, on all instances together', async () => {
    const pools = Array.from({ length: 3 }, () => new pg.Pool({ connectionString: world.databaseUrl, max: 2 }));
    const budgets = pools.map((pool) => createCallBudget(pool, HISTORY_SHARE, () => false));
    const startedAt = performance.now();
    const taken: number[] = [];
    await Promise.all(
      budgets.flatMap((budget) =>
        Array.from({ length: 20 }, async () => {
          await budget.take();
          taken.push(performance.now() - startedAt);
        }),
      ),
    );
    for (const pool of pools) await pool.end();
    expect(taken).toHaveLength(60);
    // What one short window lets through comes on top.
    taken.sort((a, b) => a - b);
    for (const [index, ms] of taken.entries()) expect(index + 1).toBeLessThanOrEqual((20 * ms) / 1_000 + 4);
  });

  test('neither of a device that can’t record, nor for the live views of the user', async () => {
    const user = await world.ring.createUser({
      devices: [{ name: 'Sensor', capabilities: { contact_detection: {}, video: null } }, { name: 'Camera' }],
    });
    const [sensor = { id: '' }, camera = { id: '' }] = user.devices;
    await linked(world, user);
    await until('Ring has told of both', async () => {
      const known = await world.sql('SELECT 1 FROM devices WHERE account_id = $1 AND fetched_at IS NOT NULL', [
        user.account_id,
      ]);
      return known.length === 2;
    });
    await untilHistoryIsRead(world);
    await world.ring.record({ user_id: user.id, device_id: camera.id, kind: 'on_demand', start: now(), end: now() });
    await missed();

    expect(await storedEvents(world, user)).toEqual([]);
    const asked = (await world.ring.requests()).map(({ path }) => path);
    expect(asked).toContain(`/v1/history/devices/${camera.id}/events`);
    expect(asked).not.toContain(`/v1/history/devices/${sensor.id}/events`);
  });
});

describe('an event that a webhook tells, too', () => {
  test.each([-4_000, 0, 4_000])('is one event, whichever comes first, %i ms apart', async (apartMs) => {
    const one = await owner();
    const { ringUser, device } = one;
    await world.ring.setSettings({ historyStartOffMs: apartMs });
    const [first, second] = [now(), now() + 60_000];
    world.clock.advance(120);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', sub_type: 'human', timestamp: first });
    await untilProcessed(world, ringUser);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'button_press', timestamp: second, deliver: 'dropped' });
    await missed();
    expect(await storedEvents(world, ringUser)).toEqual([
      motion(device.id, first, 'human'),
      press(device.id, second + apartMs),
    ]);

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'button_press', timestamp: second, effect: false });
    await untilProcessed(world, ringUser);
    await missed();
    expect(await storedEvents(world, ringUser)).toEqual([motion(device.id, first, 'human'), press(device.id, second)]);
  });

  test('gets its subtype from the webhook that comes later', async () => {
    const one = await owner();
    const at = now();
    await record(one, at, { sub_type: 'vehicle' });
    await missed();
    expect(await storedEvents(world, one.ringUser)).toEqual([motion(one.device.id, at)]);
    expect((await one.visitor.open('/events')).text).not.toContain('A vehicle was seen</p>');

    const event = { type: 'motion_detected', sub_type: 'vehicle', timestamp: at, effect: false };
    await world.ring.sendEvent({ user_id: one.ringUser.id, ...event });
    await untilProcessed(world, one.ringUser);
    expect(await storedEvents(world, one.ringUser)).toEqual([motion(one.device.id, at, 'vehicle')]);
    const { text } = await one.visitor.open('/events');
    expect(text).toContain('A vehicle was seen</p>');
    expect(eventsOn(text).length).toBe(new Set(eventsOn(text)).size);
  });

  test('keeps the picture that its user has asked for before the webhook came', async () => {
    const { ringUser, visitor, path, csrfToken, ...one } = await owner();
    const at = now();
    await record({ ringUser, ...one }, at);
    world.clock.advance(60);
    await missed();
    const [told] = await world.sql<{ id: string }>('SELECT request_id AS id FROM device_events WHERE account_id = $1', [
      ringUser.account_id,
    ]);
    await visitor.post(`${path}/events/${told?.id ?? ''}/snapshot`, { _csrf: csrfToken });
    const [picture] = await world.sql<{ id: string }>('SELECT id FROM snapshots WHERE account_id = $1', [
      ringUser.account_id,
    ]);

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', timestamp: at, effect: false });
    await untilProcessed(world, ringUser);

    const { text } = await visitor.open('/events');
    expect(eventsOn(text)).not.toContain(told?.id);
    expect(linkOn(text, 'Show the picture')).toBe(`${path}/snapshots/${picture?.id ?? ''}/view`);
  });

  test('is another one when it is more than 5 s away, or of another kind', async () => {
    const one = await owner();
    const at = now();
    world.clock.advance(60);
    await record(one, at);
    await missed();
    for (const event of [
      { type: 'motion_detected', timestamp: at + 5_001 },
      { type: 'button_press', timestamp: at },
    ]) {
      await world.ring.sendEvent({ user_id: one.ringUser.id, effect: false, ...event });
    }
    await untilProcessed(world, one.ringUser);
    expect((await storedEvents(world, one.ringUser)).map(({ type, at: time }) => [type, time - at])).toEqual([
      ['button_press', 0],
      ['motion_detected', 0],
      ['motion_detected', 5_001],
    ]);
  });

  /** Something that happens at a device, and how the app comes to know of it. */
  const Happening = fc.record({
    device: fc.nat({ max: 1 }),
    kind: fc.constantFrom('motion_detected', 'button_press'),
    subType: fc.constantFrom('human', 'vehicle', 'motion'),
    /** After the event before it, in ms: also in quick succession. */
    gapMs: fc.oneof(fc.integer({ min: 1, max: 4_999 }), fc.integer({ min: 5_001, max: 90_000 })),
    webhook: fc.constantFrom('at once', 'late', 'never'),
  });

  test('is exactly one, in any order and interleaving', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(Happening, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.nat()),
        async (happenings, historyPageSize, random) => {
          await world.ring.setSettings({ historyPageSize });
          const user = await world.ring.createUser({ devices: [{ name: 'One' }, { name: 'Two' }] });
          const { ringUser } = await linked(world, user);
          await until('Ring has told of both devices', async () => {
            const begun = await world.sql('SELECT 1 FROM device_histories WHERE account_id = $1', [user.account_id]);
            return begun.length === 2;
          });
          let at = now();
          const real = happenings.map(({ device, kind, subType, gapMs, webhook }) => {
            at += gapMs;
            const device_id = user.devices[device]?.id ?? '';
            const sub_type = kind === 'motion_detected' ? { sub_type: subType } : {};
            return { wish: { user_id: ringUser.id, device_id, type: kind, timestamp: at, ...sub_type }, webhook };
          });
          world.clock.advance((at - now()) / 1_000 + 10);
          const late: (() => Promise<unknown>)[] = [];
          for (const { wish, webhook } of real) {
            await world.ring.sendEvent({ ...wish, ...(webhook !== 'at once' && { deliver: 'dropped' }) });
            if (webhook === 'late') late.push(() => world.ring.sendEvent({ ...wish, effect: false, wait: false }));
          }
          // The history is read while the late webhooks arrive, in an order that the test draws.
          const drawn = late.map((send) => ({ send, place: random.next().value as number }));
          drawn.sort((a, b) => a.place - b.place);
          await addJob('note_missed_time', { accountId: user.account_id, lostSince: null });
          for (const { send } of drawn) await send();
          await until('all late webhooks are stored', async () => {
            const stored = await world.sql('SELECT 1 FROM webhook_events WHERE account_id = $1 AND type = ANY ($2)', [
              user.account_id,
              ['motion_detected', 'button_press'],
            ]);
            return stored.length === real.filter(({ webhook }) => webhook !== 'never').length;
          });
          await untilJobsAreDone(world);

          const expected = real
            .map(({ wish: { device_id, type, timestamp, ...wish }, webhook }) => ({
              device_id,
              type,
              subtype: 'sub_type' in wish && webhook !== 'never' ? wish.sub_type : null,
              at: timestamp,
            }))
            .sort((a, b) => a.at - b.at);
          expect(await storedEvents(world, ringUser)).toEqual(expected);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('what is not to be known any more', () => {
  test('an event from before its device’s removal is not recorded, also when the device is back', async () => {
    const one = await owner();
    const { ringUser, device } = one;
    const before = now();
    await record(one, before);
    world.clock.advance(60);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_removed', device_id: device.id });
    await untilProcessed(world, ringUser);
    await missed();
    expect(await storedEvents(world, ringUser)).toEqual([]);

    world.clock.advance(60);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_added', device_id: device.id });
    await until('the history is read', async () => {
      const read = await world.sql('SELECT 1 FROM device_histories WHERE account_id = $1 AND missing_since IS NULL', [
        ringUser.account_id,
      ]);
      return read.length === 1;
    });
    expect(await storedEvents(world, ringUser)).toEqual([]);

    const late = { type: 'motion_detected', timestamp: before, effect: false };
    await world.ring.sendEvent({ user_id: ringUser.id, device_id: device.id, ...late });
    await untilProcessed(world, ringUser);
    expect(await storedEvents(world, ringUser)).toEqual([]);
    const bodies = await world.sql(
      `SELECT body FROM webhook_events WHERE account_id = $1 AND type = 'motion_detected'`,
      [ringUser.account_id],
    );
    expect(bodies).toEqual([{ body: null }]);

    await record(one, now());
    await missed();
    expect(await storedEvents(world, ringUser)).toEqual([motion(device.id, now())]);
  });
});

describe('a history that Ring does not tell', () => {
  const line = (html: string): string | undefined =>
    /<li class="missed">([\s\S]*?)<\/li>/.exec(html)?.[1]?.replaceAll(/<[^>]*>/g, '');

  test('is said on the page of events, with the time, until it is merged', async () => {
    const one = await owner();
    const at = now();
    await record(one, at);
    await world.ring.setFaults([{ endpoint: 'history', fault: { kind: 'status', status: 503 } }]);
    await silentFor(world, 7_200);
    await until('the page says so', async () => line((await one.visitor.open('/events')).text) !== undefined);
    const { text } = one.visitor.page;
    expect(line(text)).toContain('Something may be missing here');
    expect(line(text)).toContain(one.device.name);
    expect(text).toMatch(/<li class="missed">[\s\S]*?<time datetime="[^"]+">[\s\S]*?<time datetime="[^"]+">/);
    expect(line((await one.visitor.open('/events?kind=online')).text)).toBeUndefined();

    await world.ring.release();
    await untilHistoryIsRead(world);
    expect(line((await one.visitor.open('/events')).text)).toBeUndefined();
    expect(await storedEvents(world, one.ringUser)).toEqual([motion(one.device.id, at)]);
  });

  test('is said, too, when more than a minute has passed without an answer', async () => {
    const one = await owner();
    await world.sql(
      `UPDATE device_histories SET missing_since = $2, missing_until = $3, read_since = $2 WHERE account_id = $1`,
      [one.ringUser.account_id, new Date(now() - 60_000), world.clock.now()],
    );
    expect(line((await one.visitor.open('/events')).text)).toBeUndefined();
    world.clock.advance(61);
    expect(line((await one.visitor.open('/events')).text)).toContain('Ring has not told us yet what happened');
  });

  /** Ring's pages, each of them with one event, that lead from one to the next and on to the first. */
  const circle = ({ device }: Owner, size: number, at: number): Fault[] => {
    const { id } = device;
    const pages = Array.from({ length: size }, (_, index) => ({
      data: [
        {
          type: 'history-events',
          id: `of-a-circle-${index}`,
          attributes: { event_type: 'motion', start: at - index * 60_000 },
          relationships: { source: { data: { type: 'devices', id } } },
        },
      ],
      links: { next: `/v1/history/devices/${id}/events?page[key]=${(index + 1) % size}` },
    }));
    return Array.from({ length: 100 }, (_, index) =>
      once('history', {
        kind: 'body',
        status: 200,
        contentType: 'application/json',
        body: JSON.stringify(pages[index % size]),
      }),
    );
  };

  test.each([1, 2, 3])('because its pages lead in a circle of %i is asked for seldom, and said', async (size) => {
    const one = await owner();
    const at = now();
    await record(one, at);
    world.clock.advance(600);
    const before = (await historyCalls(one)).length;
    await world.ring.setFaults(circle(one, size, now() - 60_000));
    await missedBy(one);
    await until('the page says so', async () => line((await one.visitor.open('/events')).text) !== undefined);
    // Once around by each of eight attempts at most, and the first page.
    expect((await historyCalls(one)).length - before).toBeLessThanOrEqual(8 * size + 1);
    expect(await storedEvents(world, one.ringUser)).toHaveLength(size);

    await world.ring.release();
    await world.sql('DELETE FROM device_events WHERE account_id = $1', [one.ringUser.account_id]);
    await missedBy(one);
    await untilHistoryIsRead(world);
    expect(line((await one.visitor.open('/events')).text)).toBeUndefined();
    expect(await storedEvents(world, one.ringUser)).toEqual([motion(one.device.id, at)]);
  });

  test('is read on from the page where it stopped, and from the first when Ring no longer knows that', async () => {
    await world.ring.setSettings({ historyPageSize: 1 });
    const one = await owner();
    const begin = now();
    for (let minute = 0; minute < 3; minute++) await record(one, begin + minute * 60_000);
    world.clock.advance(600);
    await world.ring.setFaults([
      once('history', { kind: 'delay', ms: 0 }),
      once('history', { kind: 'status', status: 400 }),
    ]);
    await missed();
    expect((await storedEvents(world, one.ringUser)).map(({ at }) => at)).toEqual([
      begin,
      begin + 60_000,
      begin + 120_000,
    ]);
  });
});
