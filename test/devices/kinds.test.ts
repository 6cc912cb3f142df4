import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilProcessed } from '../support/features/inbox.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const ABILITY = { configurations: [] };
const SENSOR = {
  name: 'Cellar',
  capabilities: { flood_detection: ABILITY, tamper_detection: ABILITY },
  configurations: {},
  location: null,
};

const kindOn = (page: string): string | undefined =>
  /<h1>[^<]*<\/h1>\s*<p class="muted">([^<]*)<\/p>/.exec(page)?.[1]?.trim();

describe('what a device is', () => {
  test.each<[capabilities: object | null, kind: string | undefined]>([
    [{ video: { max_resolution: 1080 } }, 'Camera'],
    [{ video: {}, flood_detection: ABILITY }, 'Camera'],
    [{ contact_detection: ABILITY, tamper_detection: ABILITY }, 'Contact sensor'],
    [{ flood_detection: ABILITY, freeze_detection: ABILITY, tamper_detection: ABILITY }, 'Flood and freeze sensor'],
    [
      { contact_detection: ABILITY, flood_detection: ABILITY, freeze_detection: ABILITY },
      'Contact, flood, and freeze sensor',
    ],
    [{ tamper_detection: ABILITY }, 'Tamper sensor'],
    [{}, undefined],
    [{ video: null, motion_detection: null, flood_detection: null }, undefined],
    [null, undefined],
  ])('is learned from what it can do: %j', async (capabilities, kind) => {
    const { visitor, path } = await sharing(world, { capabilities, location: null });

    expect(kindOn((await visitor.open(path)).text)).toBe(kind);
    const home = (await visitor.open('/ring/home')).text;
    if (kind === undefined) expect(home).toContain('<p class="muted">Online');
    else expect(home).toContain(`<p class="muted">${kind} · Online`);
  });

  test('is a doorbell once somebody has pressed its button', async () => {
    const { visitor, path, ringUser } = await sharing(world);
    expect(kindOn((await visitor.open(path)).text)).toBe('Camera · WA, US');

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'button_press' });
    await untilProcessed(world, ringUser);

    expect(kindOn((await visitor.open(path)).text)).toBe('Doorbell · WA, US');
    expect((await visitor.open('/ring/home')).text).toContain('<p class="muted">Doorbell · Online');
  });

  test('is a doorbell also if it has rung before it was known, and after its events are gone', async () => {
    const { visitor, path, ringUser, device } = await sharing(world);
    await world.sql(
      `INSERT INTO device_events (request_id, account_id, device_id, type, occurred_at)
       VALUES (gen_random_uuid(), $1, $2, 'button_press', now())`,
      [ringUser.account_id, device.id],
    );
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_added', device_id: device.id });
    await untilProcessed(world, ringUser);
    await world.sql('DELETE FROM device_events WHERE account_id = $1', [ringUser.account_id]);

    expect(kindOn((await visitor.open(path)).text)).toMatch(/^Doorbell/);
  });
});

describe('a device without video', () => {
  const mediaRequests = async ({ device }: Owner): Promise<unknown[]> =>
    (await world.ring.requests()).filter(({ path }) => path.startsWith(`/v1/devices/${device.id}/media`));

  test('is offered neither a live view nor pictures', async () => {
    const { visitor, path } = await sharing(world, SENSOR);

    const { status, text } = await visitor.open(path);

    expect(status).toBe(200);
    expect(text).toContain('<h2 id="sensors">Sensors</h2>');
    expect(text).not.toMatch(/live view|Watch live|picture|live-view|<video|schedule/i);
  });

  test('has a live view refused, with words', async () => {
    const owner = await sharing(world, SENSOR);
    const { visitor, path, csrfToken } = owner;

    const answer = await fetch(`${world.url}${path}/live-views`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', cookie: visitor.cookie, 'x-csrf-token': csrfToken },
      body: 'v=0\r\n',
    });

    expect(answer.status).toBe(409);
    expect(await answer.json()).toMatchObject({ detail: 'This device has no camera, so it has no live view.' });
    expect(await mediaRequests(owner)).toEqual([]);
  });

  test.each([
    ['/snapshots', {}],
    ['/event-pictures', { on: 'yes' }],
    ['/scheduled-operations', { frequency: 'HOURLY' }],
  ])('has a POST to %s refused, with words', async (address, fields) => {
    const owner = await sharing(world, SENSOR);
    const { visitor, path, csrfToken } = owner;

    const { status, text } = await visitor.post(path + address, { _csrf: csrfToken, ...fields });

    expect(status).toBe(409);
    expect(text).toContain('This device has no camera, so there are no pictures of it.');
    expect(await mediaRequests(owner)).toEqual([]);
    expect(await world.sql('SELECT 1 FROM scheduled_operations WHERE device_id = $1', [owner.device.id])).toEqual([]);
  });

  test('is not offered the picture and the recording of an event, which are refused with words', async () => {
    const capabilities = { motion_detection: { configurations: ['enabled'] } };
    const owner = await sharing(world, { ...SENSOR, capabilities });
    const { visitor, path, csrfToken, ringUser } = owner;
    const { request_id: id, event } = await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    await untilProcessed(world, ringUser);

    for (const page of [path, '/events', '/ring/home']) {
      const { text } = await visitor.open(page);
      expect(text).toContain('<p class="event-text">Motion</p>');
      expect(text).not.toMatch(/Show the picture|Watch the recording/);
    }
    const refused = [
      await visitor.post(`${path}/events/${id}/snapshot`, { _csrf: csrfToken }),
      await visitor.open(`${path}/events/${id}/snapshot`),
      await visitor.open(`${path}/recordings/${String(event.data.attributes.timestamp)}`),
      await visitor.open(`${path}/recordings/${String(event.data.attributes.timestamp)}/video`),
    ];
    for (const { status, text } of refused) {
      expect(status).toBe(409);
      expect(text).toContain('This device has no camera');
    }
    expect(await mediaRequests(owner)).toEqual([]);
  });

  test('is not asked for the pictures of a schedule from before that was known, which can be deleted', async () => {
    const owner = await sharing(world, { name: 'Cellar', capabilities: null });
    const { visitor, path, csrfToken, ringUser, device } = owner;
    await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
    await world.ring.changeDevice(ringUser, { capabilities: SENSOR.capabilities });
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_added', device_id: device.id });
    await untilProcessed(world, ringUser);

    world.clock.advance(3_600);
    await tick('start due snapshots');
    await untilJobsAreDone(world, 'take_snapshot');

    expect(await mediaRequests(owner)).toEqual([]);
    const { text } = await visitor.open(path);
    expect(text).toContain('This device has no camera, so there are no pictures of it.');
    expect(text).not.toContain('Next picture');
    const [, remove = ''] = /formaction="([^"]+\/delete)"/.exec(text) ?? [];
    expect((await visitor.post(remove, { _csrf: csrfToken })).text).not.toContain('Every hour');
  });

  test('is one whose abilities are known: until then a live view and pictures are offered', async () => {
    const { visitor, path } = await sharing(world, { capabilities: null });

    const { text } = await visitor.open(path);

    expect(text).toContain('Watch live');
    expect(text).toContain('/snapshots');
  });
});
