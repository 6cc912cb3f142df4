import { randomInt } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { sharing } from '../support/features/devices.js';
import { holdAccount, untilProcessed } from '../support/features/inbox.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { linked, untilLink } from '../support/features/linking.js';
import type { EventType, RingUser, Sensor } from '../support/worlds/ring.js';
import { tracesOf } from '../support/inspection/traces.js';
import { until } from '../support/waiting/until.js';
import type { Visitor } from '../support/clients/visitor.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
let other: string;
beforeAll(async () => {
  world = await startWorld();
  other = `http://localhost:${(await world.startAnother()).port}`;
  // What sensors report happens after Ring has begun.
  world.clock.advance(3_600);
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const ABILITY = { configurations: [] };
const SENSOR = {
  name: 'Cellar',
  capabilities: {
    contact_detection: ABILITY,
    flood_detection: ABILITY,
    freeze_detection: ABILITY,
    tamper_detection: ABILITY,
  },
  configurations: {},
};

const fromNow = (seconds: number): Date => new Date(world.clock.now().getTime() + seconds * 1_000);

/** The sensors on a page, as a reader reads them, with each time as it is written for machines. */
function sensorsOn(html: string): string[] {
  const [section = ''] = /<section aria-labelledby="sensors">[\s\S]*?<\/section>/.exec(html) ?? [];
  return [...section.matchAll(/<p class="status">([^<]*)<\/p>\s*(?:<p class="muted">([\s\S]*?)<\/p>)?/g)].map(
    ([, words = '', more = '']) => `${words} ${more.replace(/<time datetime="([^"]*)">[^<]*<\/time>/, '$1')}`.trim(),
  );
}

async function sensorsOf(visitor: Visitor, deviceId: string): Promise<string[]> {
  return sensorsOn((await visitor.open(`/devices/${deviceId}`)).text);
}

/** Sends webhooks that change nothing at Ring. */
async function tell(ringUser: RingUser, type: EventType, at: Date, deviceId?: string): Promise<void> {
  const [device] = ringUser.devices;
  await world.ring.sendEvent({
    user_id: ringUser.id,
    device_id: deviceId ?? device?.id ?? '',
    type,
    effect: false,
    timestamp: at.getTime(),
  });
  await untilProcessed(world, ringUser);
}

describe('an event of a sensor', () => {
  test.each<[EventType, index: number, words: string, event: string]>([
    ['contact_sensor_faulted', 0, 'Open', 'Opened'],
    ['contact_sensor_cleared', 0, 'Reported closed', 'Reported closed'],
    ['flood_detected', 1, 'Water detected', 'Water was detected'],
    ['flood_cleared', 1, 'No water reported', 'Water is no longer reported'],
    ['freeze_detected', 2, 'Freezing temperature detected', 'A freezing temperature was detected'],
    ['freeze_cleared', 2, 'No freezing temperature reported', 'A freezing temperature is no longer reported'],
    ['tamper_detected', 3, 'Tampering detected', 'Tampering was detected'],
    ['tamper_cleared', 3, 'No tampering reported', 'Tampering is no longer reported'],
  ])('%s is shown as the state of its sensor, and among the events', async (type, index, words, event) => {
    const { visitor, ringUser, path } = await sharing(world, SENSOR);
    const at = fromNow(-2);

    await tell(ringUser, type, at);

    const { text } = await visitor.open(path);
    expect(sensorsOn(text)[index]).toBe(`${words} since ${at.toISOString()}`);
    expect(text).toContain(`<p class="event-text">${event}</p>`);
    expect((await visitor.open('/events')).text).toContain(`<p class="event-text">${event}</p>`);
    const home = (await visitor.open('/ring/home')).text;
    expect(home).toContain(`<p class="faulted">${words} since <time datetime="${at.toISOString()}">`);
  });

  test('is for one sensor alone, and the page promises nothing', async () => {
    const { visitor, ringUser, path } = await sharing(world, SENSOR);
    await tell(ringUser, 'flood_detected', fromNow(-2));

    const { text } = await visitor.open(path);

    const [, , ...others] = sensorsOn(text);
    for (const one of others) expect(one).toMatch(/^No (freezing temperature|tampering) reported as of /);
    for (const page of [text, (await visitor.open('/ring/home')).text]) {
      expect(page).toContain('what Ring last told us. It can be late, so don’t rely on it as an alarm.');
      expect(page).not.toMatch(/\b(safe|secure|dry|all good|protected)\b/i);
    }
  });

  test('is found by the filter of its kind', async () => {
    const { visitor, ringUser } = await sharing(world, SENSOR);
    await tell(ringUser, 'flood_detected', fromNow(-3));
    await tell(ringUser, 'flood_cleared', fromNow(-2));

    const { text } = await visitor.open('/events?kind=water');

    expect(text).toContain('<option value="water" selected>Water</option>');
    expect([...text.matchAll(/class="event-text">([^<]*)</g)].map(([, words]) => words)).toEqual([
      'Water was detected',
    ]);
  });

  test('is taken with nothing but its device and its time, and of a device that is not known yet', async () => {
    const { ringUser, visitor } = await sharing(world, SENSOR);
    const event = newEvent({ accountId: ringUser.account_id, type: 'flood_detected', deviceId: 'never-heard-of' });
    const attributes = { source: 'never-heard-of', timestamp: fromNow(-1).getTime(), component_ids: ['a'] };
    const bare = { meta: event.meta, data: { id: 'x', type: 'flood_detected', attributes } };
    await world.ring.setFaults([{ endpoint: 'device', fault: { kind: 'status', status: 403 } }]);

    expect((await deliver(world.url, JSON.stringify(bare))).status).toBe(200);
    await untilProcessed(world, ringUser);

    expect(await sensorsOf(visitor, 'never-heard-of')).toEqual([`Water detected since ${fromNow(-1).toISOString()}`]);
  });
});

interface Word {
  faulted: boolean;
  /** Seconds from now. */
  at: number;
}

function permutations<One>(all: readonly One[]): One[][] {
  if (all.length === 0) return [[]];
  return all.flatMap((one, index) => permutations(all.toSpliced(index, 1)).map((rest) => [one, ...rest]));
}

/** What a reader of the whole story would say, told in its order. */
function outcomeOf(words: readonly Word[]): { faulted: boolean; since: number } {
  const story = words.toSorted((one, another) => one.at - another.at);
  const last = story.at(-1) ?? { faulted: false, at: 0 };
  const turn = story.findLastIndex(({ faulted }) => faulted !== last.faulted);
  return { faulted: last.faulted, since: story[turn + 1]?.at ?? last.at };
}

describe('events in whatever order', () => {
  test('leave a sensor as it was last, since when it is so: every order, of two instances', async () => {
    const words: Word[] = Array.from({ length: 4 }, (_, index) => ({
      faulted: randomInt(2) === 0,
      at: -100 + 20 * index + randomInt(10),
    }));
    const orders = permutations(words);
    const user = await world.ring.createUser({
      devices: orders.map((_, index) => ({ ...SENSOR, name: `Sensor ${index}` })),
    });
    const { visitor, ringUser } = await linked(world, user);
    await untilJobsAreDone(world, 'fetch_inventory');

    for (let step = 0; step < words.length; step += 1) {
      await Promise.all(
        orders.map(async (order, index) => {
          const word = order[step];
          if (word === undefined) return;
          const event = newEvent({
            accountId: ringUser.account_id,
            deviceId: ringUser.devices[index]?.id ?? '',
            type: word.faulted ? 'flood_detected' : 'flood_cleared',
            timestamp: fromNow(word.at).getTime(),
          });
          const { status } = await deliver((index + step) % 2 === 0 ? world.url : other, JSON.stringify(event));
          expect(status).toBe(200);
        }),
      );
      await untilProcessed(world, ringUser);
    }

    const { faulted, since } = outcomeOf(words);
    const expected = `${faulted ? 'Water detected' : 'No water reported'} since ${fromNow(since).toISOString()}`;
    for (const { id } of ringUser.devices) {
      expect({ words, shown: (await sensorsOf(visitor, id))[1] }).toEqual({ words, shown: expected });
    }
  });

  test('at once, before the account’s lock is free: the newest stands', async () => {
    const { visitor, ringUser, device } = await sharing(world, SENSOR);
    const release = await holdAccount(world, ringUser);
    const sent = [
      ['contact_sensor_cleared', -2],
      ['contact_sensor_faulted', -3],
      ['contact_sensor_faulted', -1],
      ['contact_sensor_cleared', -4],
    ] as const;
    for (const [index, [type, seconds]] of sent.entries()) {
      const event = newEvent({
        accountId: ringUser.account_id,
        deviceId: device.id,
        type,
        timestamp: fromNow(seconds).getTime(),
      });
      await deliver(index % 2 === 0 ? world.url : other, JSON.stringify(event));
    }
    await release();
    await untilProcessed(world, ringUser);

    expect((await sensorsOf(visitor, device.id))[0]).toBe(`Open since ${fromNow(-1).toISOString()}`);
  });
});

describe('Ring’s status', () => {
  const faulted = (ringUser: RingUser, ...sensors: Sensor[]) => world.ring.changeDevice(ringUser, { faulted: sensors });

  const askedFor = async ({ account_id }: RingUser): Promise<number> =>
    (await world.ring.requests()).filter((one) => one.account_id === account_id && one.path.endsWith('/status')).length;

  const wholeSecond = (time: Date): string => time.toISOString().slice(0, 19);

  test('is what a sensor shows after linking, each sensor for itself', async () => {
    const { visitor, device } = await sharing(world, { ...SENSOR, faulted: ['contact_detection', 'freeze_detection'] });

    const shown = await sensorsOf(visitor, device.id);

    expect(shown.map((one) => one.replace(/ as of .*/, ' as of'))).toEqual([
      'Open as of',
      'No water reported as of',
      'Freezing temperature detected as of',
      'No tampering reported as of',
    ]);
  });

  test('is asked for when somebody looks at the device, and what no webhook told is shown', async () => {
    const { visitor, ringUser, device } = await sharing(world, SENSOR);
    world.clock.advance(90);
    await faulted(ringUser, 'flood_detection');

    await sensorsOf(visitor, device.id);
    await untilProcessed(world, ringUser);

    const [, water] = await sensorsOf(visitor, device.id);
    expect(water).toMatch(`Water detected as of ${wholeSecond(world.clock.now())}`);
    expect(await askedFor(ringUser)).toBe(1);
    await sensorsOf(visitor, device.id);
    await untilProcessed(world, ringUser);
    expect(await askedFor(ringUser)).toBe(1);
  });

  test('is asked for when somebody looks at the home page', async () => {
    const { visitor, ringUser } = await sharing(world, SENSOR);
    world.clock.advance(90);
    await faulted(ringUser, 'contact_detection');

    await visitor.open('/ring/home');
    await untilProcessed(world, ringUser);

    expect((await visitor.open('/ring/home')).text).toMatch(/<p class="faulted">Open as of <time/);
  });

  test('is asked for after an event that came late, and decides', async () => {
    const { visitor, ringUser, device } = await sharing(world, SENSOR);
    world.clock.advance(60);
    await faulted(ringUser);
    const before = await askedFor(ringUser);

    await tell(ringUser, 'flood_detected', fromNow(-30));

    expect(await askedFor(ringUser)).toBe(before + 1);
    expect((await sensorsOf(visitor, device.id))[1]).toMatch(/^No water reported as of /);
  });

  test('is asked for after an event that was overtaken, and not after one that was not', async () => {
    const { ringUser } = await sharing(world, SENSOR);
    await tell(ringUser, 'flood_cleared', fromNow(-1));
    expect(await askedFor(ringUser)).toBe(0);

    await tell(ringUser, 'flood_detected', fromNow(-2));

    expect(await askedFor(ringUser)).toBe(1);
  });

  test('that is older than the word of a webhook does not undo it', async () => {
    const { visitor, ringUser, device } = await sharing(world, SENSOR);
    world.clock.advance(90);
    await faulted(ringUser);
    world.clock.advance(30);
    await tell(ringUser, 'flood_detected', fromNow(-2));

    await sensorsOf(visitor, device.id);
    await untilProcessed(world, ringUser);

    expect((await sensorsOf(visitor, device.id))[1]).toBe(`Water detected since ${fromNow(-2).toISOString()}`);
  });

  test('is asked for again when Ring is away', async () => {
    const { visitor, ringUser, device } = await sharing(world, SENSOR);
    world.clock.advance(90);
    await faulted(ringUser, 'tamper_detection');
    await world.ring.setFaults([{ endpoint: 'device-resource', fault: { kind: 'status', status: 503 }, times: 2 }]);

    await sensorsOf(visitor, device.id);
    await untilJobsAreDone(world, 'fetch_device_status');

    expect((await sensorsOf(visitor, device.id))[3]).toMatch(/^Tampering detected as of /);
  });

  test('of a device that is gone ends the device', async () => {
    const { visitor, ringUser, device } = await sharing(world, SENSOR);
    await tell(ringUser, 'flood_detected', fromNow(-1));
    world.clock.advance(90);
    await world.ring.sendEvent({
      user_id: ringUser.id,
      type: 'device_removed',
      device_id: device.id,
      deliver: 'dropped',
    });

    await sensorsOf(visitor, device.id);

    await until('the device is removed', async () => (await visitor.open(`/devices/${device.id}`)).status === 404);
  });
});

describe('a removal', () => {
  const stored = (ringUser: RingUser) =>
    world.sql<Record<string, unknown>>(
      'SELECT removed_at, sensors, is_doorbell, status_fetched_at FROM devices WHERE account_id = $1',
      [ringUser.account_id],
    );

  test('of the device erases what its sensors have told, and a late event brings nothing back', async () => {
    const { ringUser, device } = await sharing(world, SENSOR);
    await tell(ringUser, 'flood_detected', fromNow(-2));
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_removed', device_id: device.id });
    await untilProcessed(world, ringUser);
    await tell(ringUser, 'flood_cleared', fromNow(-1));

    expect(await stored(ringUser)).toEqual([
      { removed_at: expect.any(Date), sensors: null, is_doorbell: false, status_fetched_at: null },
    ]);
    expect(await tracesOf(world, 'contrary_at')).not.toContain('audit_archive');
    expect(await world.sql('SELECT 1 FROM device_events WHERE account_id = $1', [ringUser.account_id])).toEqual([]);
  });

  test('of the app erases what sensors have told', async () => {
    const { ringUser } = await sharing(world, SENSOR);
    await tell(ringUser, 'flood_detected', fromNow(-2));
    world.clock.advance(1);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
    await untilLink(world, ringUser, 'REMOVED');

    expect(await stored(ringUser)).toEqual([]);
  });
});

test('the user’s download has what sensors have told', async () => {
  const { visitor, ringUser } = await sharing(world, SENSOR);
  await tell(ringUser, 'flood_detected', fromNow(-2));

  const { status, text } = await visitor.open('/account/data');

  expect(status).toBe(200);
  const { devices, device_events } = JSON.parse(text) as { devices: unknown[]; device_events: unknown[] };
  expect(devices).toMatchObject([{ sensors: { flood: { faulted: true, since: fromNow(-2).toISOString() } } }]);
  expect(device_events).toMatchObject([{ type: 'flood_detected' }]);
});
