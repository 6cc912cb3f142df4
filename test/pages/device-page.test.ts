import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { send } from '../support/clients/http.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilIdle, untilProcessed } from '../support/features/inbox.js';
import { arriving, installed, untilLink } from '../support/features/linking.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

type Schedule = Tables['scheduled_operations'];

function schedulesOf({ ringUser }: Owner): Promise<Schedule[]> {
  return world.sql<Schedule>('SELECT * FROM scheduled_operations WHERE account_id = $1 ORDER BY created_at, id', [
    ringUser.account_id,
  ]);
}

const formOf = ({ path }: Owner): string => `${path}/scheduled-operations`;

/** Sends the form as the page shows it, with these entries. */
async function fillIn(owner: Owner, fields: Record<string, string>): Promise<void> {
  await owner.visitor.open(owner.path);
  await owner.visitor.submit(formOf(owner), fields);
}

describe('the page of a device', () => {
  test('tells its name, whether it is online, when Ring said so, and where it is, as coarse as Ring tells it', async () => {
    const owner = await sharing(world, { name: 'Front Door', location: { country: 'US', state: 'CA' } });

    await owner.visitor.open(owner.path);

    const { status, text, headers } = owner.visitor.page;
    expect(status).toBe(200);
    expect(headers['cache-control']).toBe('no-store');
    expect(owner.visitor.heading).toBe('Front Door');
    expect(text).toMatch(/<p class="status">Online<\/p>\s*<p class="muted">as of <time datetime="\d{4}-[^"]+Z">/);
    expect(text).toContain('CA, US');
    expect(text).toContain('No pictures yet');
  });

  test('tells that it is offline, and since when', async () => {
    const owner = await sharing(world);
    const timestamp = world.clock.now().getTime() + 1;
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_offline', timestamp });
    await until('it is offline', async () => {
      await owner.visitor.open(owner.path);
      return owner.visitor.page.text.includes('<p class="status">Offline</p>');
    });

    expect(owner.visitor.page.text).toContain(`datetime="${new Date(timestamp).toISOString()}"`);
  });

  test('says so when Ring has told little', async () => {
    const owner = await sharing(world, { location: null });
    await world.sql('UPDATE devices SET name = NULL, online = NULL, online_at = NULL WHERE account_id = $1', [
      owner.ringUser.account_id,
    ]);

    await owner.visitor.open(owner.path);

    expect(owner.visitor.heading).toBe('Unnamed device');
    expect(owner.visitor.page.text).toContain('<p class="status">Status not known yet</p>');
  });

  test('shows any text from Ring as text', async () => {
    const name = `<script>alert(1)</script> "Tür" & 'Tor'`;
    const owner = await sharing(world, { name, location: { country: '<b>US</b>' }, id: `"><i>${randomUUID()}` });

    await owner.visitor.open(owner.path);

    const { text } = owner.visitor.page;
    expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt; &#34;Tür&#34; &amp; &#39;Tor&#39;');
    expect(text).toContain('&lt;b&gt;US&lt;/b&gt;');
    expect(text).not.toMatch(/<script>alert|<b>|<i>/);
  });

  test('offers nothing that could be taken for a switch of the device’s', async () => {
    const owner = await sharing(world);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).not.toMatch(/type="(checkbox|radio|range)"|role="switch"/);
  });

  test('leads a visitor who is not signed in to the sign-in form', async () => {
    const owner = await sharing(world);
    const answer = await send(world.url, owner.path);
    expect([answer.status, answer.location]).toEqual([303, '/ring/home?sign-in']);
  });

  test.each(['no-such-device', '%00', 'x'.repeat(600)])('of the device %s is 404', async (id) => {
    const { visitor } = await sharing(world);
    const answer = await send(world.url, `/devices/${id}`, { cookie: visitor.cookie });
    expect([answer.status, answer.heading]).toEqual([404, 'Page not found']);
  });

  test('is for its user alone: for others it is like an unknown device', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);
    const { cookie } = other.visitor;

    const strange = await send(world.url, owner.path, { cookie });
    const unknown = await send(world.url, '/devices/no-such-device', { cookie });

    expect(strange.status).toBe(404);
    expect(strange.text).toBe(unknown.text);
  });

  test.each([
    ['the device was removed', 404, 'DELETE FROM devices WHERE account_id = $1'],
    ['the link has ended', 404, `UPDATE account_links SET status = 'REMOVED' WHERE account_id = $1`],
    [
      'the link has to be made again: home says how',
      409,
      `UPDATE account_links SET status = 'REAUTH_REQUIRED' WHERE account_id = $1`,
    ],
  ])('is gone when %s', async (_what, status, change) => {
    const owner = await sharing(world);
    await world.sql(change, [owner.ringUser.account_id]);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.status).toBe(status);
  });

  test('is read, not written: 405', async () => {
    const owner = await sharing(world);
    const answer = await send(world.url, owner.path, { method: 'PUT', cookie: owner.visitor.cookie });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});

describe('of a subscription the home page says', () => {
  test.each([
    ['Paid subscription, until <time', 'paid', 'active', '+1 day'],
    ['Free trial, until <time', 'trial', 'active', '+1 day'],
    // Ring has not said yet that the subscription was not renewed.
    ['Paid subscription, active, for', 'paid', 'active', '-1 day'],
    ['Paid subscription, ended <time', 'paid', 'inactive', '-1 day'],
    ['Paid subscription, ended, for', 'paid', 'inactive', '+1 day'],
    ['Subscription, active, for', 'other', 'active', null],
    ['Subscription, ended, for', 'other', 'inactive', null],
  ])('%s …', async (words, type, status, untilThen) => {
    const { visitor, ringUser, device } = await sharing(world);
    await world.sql(
      `INSERT INTO subscriptions (account_id, id, sub_type, status, expires_at, device_ids, fetched_at)
       VALUES ($1, gen_random_uuid(), $2, $3, now() + $4::interval, $5, now())`,
      [ringUser.account_id, type, status, untilThen, [device.id]],
    );

    const { text } = await visitor.open('/ring/home');

    expect(text.replace(/\s+/g, ' ')).toContain(words);
  });
});

describe('a schedule', () => {
  test('is made for every hour', async () => {
    const owner = await sharing(world);

    await fillIn(owner, { frequency: 'HOURLY' });

    expect(await schedulesOf(owner)).toMatchObject([
      {
        user_id: owner.userId,
        device_id: owner.device.id,
        kind: 'SNAPSHOT',
        frequency: 'HOURLY',
        time_of_day: null,
        time_zone: null,
        status: 'ACTIVE',
      },
    ]);
    expect(owner.visitor.page.text).toMatch(/<h3>Every hour<\/h3>\s*<p>Next picture: <time/);
  });

  test('is made for once a day, with an answer that can be reloaded', async () => {
    const owner = await sharing(world);

    const answer = await send(world.url, formOf(owner), {
      cookie: owner.visitor.cookie,
      form: { _csrf: owner.csrfToken, frequency: 'DAILY', time_of_day: '07:30', time_zone: 'Europe/Berlin' },
    });

    expect([answer.status, answer.location]).toEqual([303, `${owner.path}#schedules`]);
    expect(await schedulesOf(owner)).toMatchObject([
      { frequency: 'DAILY', time_of_day: '07:30:00', time_zone: 'Europe/Berlin' },
    ]);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).toContain('<h3>Every day at 07:30 (Europe/Berlin)</h3>');
    // The next schedule is probably in the same time zone.
    expect(owner.visitor.page.text).toContain('<option selected>Europe/Berlin<');
  });

  test('can be in every time zone that the page offers', async () => {
    const owner = await sharing(world);
    await owner.visitor.open(owner.path);
    const offered = [...owner.visitor.page.text.matchAll(/<option>([^<]+)(?=<)/g)].map(([, zone = '']) => zone);
    expect(offered.length).toBeGreaterThan(300);

    const unknown = await world.sql(
      `SELECT zone FROM unnest($1::text[]) zone
        WHERE NOT EXISTS (SELECT 1 FROM pg_timezone_names WHERE lower(name) = lower(zone))`,
      [offered],
    );

    expect(unknown).toEqual([]);
  });

  test.each(['Asia/Kolkata', 'Asia/Calcutta', 'America/Argentina/Ushuaia', 'Etc/GMT-14', 'UTC'])(
    'can be in the time zone %s',
    async (time_zone) => {
      const owner = await sharing(world);
      await fillIn(owner, { frequency: 'DAILY', time_of_day: '23:59', time_zone });
      expect(owner.visitor.page.status).toBe(200);
      expect(await schedulesOf(owner)).toMatchObject([{ time_zone }]);
    },
  );

  const BAD_TIME = 'Enter a time from 00:00 to 23:59';
  const BAD_ZONE = 'Choose a time zone from the list.';
  test.each<[field: string, value: string, message: string]>([
    ['time_of_day', '', BAD_TIME],
    ['time_of_day', '24:00', BAD_TIME],
    ['time_of_day', '7:30', BAD_TIME],
    ['time_of_day', '07:30:15', BAD_TIME],
    ['time_of_day', '"><script>', BAD_TIME],
    ['time_zone', '', BAD_ZONE],
    ['time_zone', 'Mars/Olympus_Mons', BAD_ZONE],
    ['time_zone', '+02:00', BAD_ZONE],
    ['time_zone', 'CEST', BAD_ZONE],
    ['time_zone', 'Europe/Berlin\0', BAD_ZONE],
    ['time_zone', "Europe/Berlin'; --", BAD_ZONE],
  ])(
    'with the %s %j shows the page again, with a message by the field and what was entered',
    async (field, value, message) => {
      const owner = await sharing(world);
      const entered: Record<string, string> = {
        frequency: 'DAILY',
        time_of_day: '06:15',
        time_zone: 'Asia/Tokyo',
        [field]: value,
      };

      await fillIn(owner, entered);

      const { status, text } = owner.visitor.page;
      expect(status).toBe(400);
      expect(text).toContain('<title>Problem: Front Door');
      expect(text).toMatch(new RegExp(`role="alert">\\s*<span class="visually-hidden">Problem: </span>${message}`));
      expect(text).toMatch(/aria-invalid="true" aria-describedby="(time|zone)-problem" autofocus/);
      const escaped = value
        .replace(/[&<>'"]/g, (one) => `&#${one.charCodeAt(0)};`)
        .replaceAll('&#60;', '&lt;')
        .replaceAll('&#62;', '&gt;');
      if (field === 'time_of_day') {
        expect(text).toContain(`value="${escaped}"`);
        expect(text).toContain('<option selected>Asia/Tokyo<');
      } else {
        expect(text).toContain('value="06:15"');
        if (value !== '') expect(text).toContain(`<option selected>${escaped}</option>`);
      }
      expect(await schedulesOf(owner)).toEqual([]);
    },
  );

  test.each(['', 'WEEKLY'])('of the frequency %j shows the page again', async (frequency) => {
    const owner = await sharing(world);
    await fillIn(owner, { frequency });
    expect(owner.visitor.page.status).toBe(400);
    expect(owner.visitor.page.text).toContain('Choose how often the latest picture is fetched.');
    expect(await schedulesOf(owner)).toEqual([]);
  });

  test('is one of ten at most, also when they arrive together', async () => {
    const owner = await sharing(world);
    const form = { _csrf: owner.csrfToken, frequency: 'HOURLY' };

    const answers = await Promise.all(
      Array.from({ length: 13 }, () => send(world.url, formOf(owner), { cookie: owner.visitor.cookie, form })),
    );

    expect(answers.map(({ status }) => status).sort()).toEqual([...Array<number>(10).fill(303), 400, 400, 400]);
    expect(answers.find(({ status }) => status === 400)?.text).toContain('A device can have 10 schedules.');
    expect(await schedulesOf(owner)).toHaveLength(10);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).not.toContain('value="HOURLY"');
  });

  test('is made by its user alone: 404 for anyone else', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);
    const form = { _csrf: other.csrfToken, frequency: 'HOURLY' };

    for (const entries of [form, { ...form, frequency: 'DAILY' }]) {
      const answer = await send(world.url, formOf(owner), { cookie: other.visitor.cookie, form: entries });
      expect(answer.status).toBe(404);
    }

    expect(await schedulesOf(owner)).toEqual([]);
  });

  test('needs the token of its page', async () => {
    const owner = await sharing(world);
    const { cookie } = owner.visitor;

    const without = await send(world.url, formOf(owner), { cookie, form: { frequency: 'HOURLY' } });
    const inHeader = await send(world.url, formOf(owner), {
      cookie,
      form: { frequency: 'HOURLY' },
      headers: { 'x-csrf-token': owner.csrfToken },
    });

    expect([without.status, inHeader.status]).toEqual([403, 403]);
    expect(await schedulesOf(owner)).toEqual([]);
  });

  test('can’t be made by a user whose session has ended', async () => {
    const owner = await sharing(world);
    await owner.visitor.open(owner.path);
    await owner.visitor.submit('/sign-out');
    const [, token = ''] = /name="_csrf" value="([^"]+)"/.exec(owner.visitor.page.text) ?? [];

    const answer = await send(world.url, formOf(owner), {
      cookie: owner.visitor.cookie,
      form: { _csrf: token, frequency: 'HOURLY' },
    });

    expect([answer.status, answer.location]).toEqual([303, '/ring/home?sign-in']);
    expect(await schedulesOf(owner)).toEqual([]);
  });

  test('leaves an address that leads back to the page', async () => {
    const owner = await sharing(world);
    const { cookie } = owner.visitor;
    for (const address of [formOf(owner), `${formOf(owner)}/${randomUUID()}/delete`]) {
      const answer = await send(world.url, address, { cookie });
      expect([answer.status, answer.location]).toEqual([303, owner.path]);
      expect((await send(world.url, address, { method: 'PUT', cookie })).status).toBe(405);
    }
  });
});

describe('deleting a schedule', () => {
  test('ends it, and may be repeated', async () => {
    const owner = await sharing(world);
    await fillIn(owner, { frequency: 'HOURLY' });
    await fillIn(owner, { frequency: 'DAILY', time_of_day: '07:30', time_zone: 'UTC' });
    const hourly = (await schedulesOf(owner)).find(({ frequency }) => frequency === 'HOURLY');
    const address = `${formOf(owner)}/${hourly?.id ?? ''}/delete`;

    await owner.visitor.submit(address);
    const again = await send(world.url, address, {
      cookie: owner.visitor.cookie,
      form: { _csrf: owner.csrfToken },
    });

    expect([again.status, again.location]).toEqual([303, `${owner.path}#schedules`]);
    expect(owner.visitor.page.status).toBe(200);
    expect(await schedulesOf(owner)).toMatchObject([{ frequency: 'DAILY' }]);
  });

  test('is for its user alone', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);
    await fillIn(owner, { frequency: 'HOURLY' });
    const [schedule] = await schedulesOf(owner);
    const asOther = { cookie: other.visitor.cookie, form: { _csrf: other.csrfToken } };
    const id = schedule?.id ?? '';

    expect((await send(world.url, `${formOf(owner)}/${id}/delete`, asOther)).status).toBe(404);
    // The owner's device has no such schedule, so that the answer is the same as for one that is deleted already.
    expect((await send(world.url, `${formOf(other)}/${id}/delete`, asOther)).status).toBe(303);
    expect((await send(world.url, `${formOf(other)}/nonsense/delete`, asOther)).status).toBe(404);

    expect(await schedulesOf(owner)).toMatchObject([{ id }]);
  });

  test('needs the token of its page', async () => {
    const owner = await sharing(world);
    await fillIn(owner, { frequency: 'HOURLY' });
    const [schedule] = await schedulesOf(owner);

    const answer = await send(world.url, `${formOf(owner)}/${schedule?.id ?? ''}/delete`, {
      cookie: owner.visitor.cookie,
      form: {},
    });

    expect(answer.status).toBe(403);
    expect(await schedulesOf(owner)).toHaveLength(1);
  });
});

describe('pausing a schedule', () => {
  const sendEvent = (owner: Owner, type: 'device_offline' | 'device_online', seconds: number) =>
    world.ring.sendEvent({
      user_id: owner.ringUser.id,
      type,
      timestamp: world.clock.now().getTime() + seconds * 1_000,
      wait: true,
    });
  const untilState = (owner: Owner, state: object) =>
    until(`it is ${JSON.stringify(state)}`, async () => {
      const [schedule] = await schedulesOf(owner);
      return Object.entries(state).every(([column, value]) => schedule?.[column as keyof Schedule] === value);
    });

  async function paused(): Promise<{ owner: Owner; address: string }> {
    const owner = await sharing(world);
    await fillIn(owner, { frequency: 'HOURLY' });
    const [schedule] = await schedulesOf(owner);
    const address = `${formOf(owner)}/${schedule?.id ?? ''}`;
    await owner.visitor.submit(`${address}/pause`);
    return { owner, address };
  }

  test('keeps it, without a next picture, until its user wants it to go on', async () => {
    const { owner, address } = await paused();
    expect(await schedulesOf(owner)).toMatchObject([{ status: 'PAUSED', pause_reason: 'USER', next_run_at: null }]);
    expect(owner.visitor.page.text).toContain('Paused by you.');

    await owner.visitor.submit(`${address}/resume`);

    const [schedule] = await schedulesOf(owner);
    expect(schedule).toMatchObject({ status: 'ACTIVE', pause_reason: null });
    expect(Number(schedule?.next_run_at)).toBeGreaterThan(world.clock.now().getTime());
    expect(owner.visitor.page.text).toContain('Next picture:');
  });

  test('lasts while the device goes offline and comes back', async () => {
    const { owner, address } = await paused();
    await sendEvent(owner, 'device_offline', 1);
    await sendEvent(owner, 'device_online', 2);
    await sendEvent(owner, 'device_offline', 3);
    await until('it is offline', async () => {
      await owner.visitor.open(owner.path);
      return owner.visitor.page.text.includes('<p class="status">Offline</p>');
    });
    expect(await schedulesOf(owner)).toMatchObject([{ status: 'PAUSED', pause_reason: 'USER' }]);

    // The user may want it to go on as soon as the device can.
    await owner.visitor.submit(`${address}/resume`);
    expect(await schedulesOf(owner)).toMatchObject([{ status: 'PAUSED', pause_reason: 'OFFLINE' }]);
    await sendEvent(owner, 'device_online', 4);
    await untilState(owner, { status: 'ACTIVE', pause_reason: null });
  });

  test('and resuming are for its user alone, and need the token of the page', async () => {
    const { owner, address } = await paused();
    const other = await sharing(world);
    const asOther = { cookie: other.visitor.cookie, form: { _csrf: other.csrfToken } };

    expect((await send(world.url, `${address}/resume`, asOther)).status).toBe(404);
    expect((await send(world.url, `${address}/resume`, { cookie: owner.visitor.cookie, form: {} })).status).toBe(403);
    const [, id = ''] = /scheduled-operations\/([^/]+)$/.exec(address) ?? [];
    expect((await send(world.url, `${formOf(other)}/${id}/resume`, asOther)).status).toBe(303);

    expect(await schedulesOf(owner)).toMatchObject([{ status: 'PAUSED', pause_reason: 'USER' }]);
  });
});

test('a schedule is never made in a time zone in whose spelling it would not run', async () => {
  const { visitor, path, csrfToken, ringUser } = await sharing(world);

  await visitor.post(`${path}/scheduled-operations`, {
    _csrf: csrfToken,
    frequency: 'DAILY',
    time_of_day: '07:30',
    time_zone: 'europe/berlin',
  });

  const made = await world.sql<{ runs: boolean }>(
    `SELECT time_zone IN (SELECT name FROM pg_timezone_names) AS runs FROM scheduled_operations WHERE account_id = $1`,
    [ringUser.account_id],
  );
  expect([visitor.page.status, made]).toEqual(made.length === 0 ? [400, []] : [200, [{ runs: true }]]);
});

test('of two Ring accounts that share the ID of a device, its page tells what happened at that one', async () => {
  const id = `device-${randomUUID()}`;
  const { visitor, path } = await sharing(world, { id, name: 'First Door' });
  world.clock.advance(1);
  const second = await world.ring.createUser({ devices: [{ id, name: 'Second Door' }] });
  await arriving(world, await installed(world, second), visitor);
  await visitor.submit('/ring/link');
  await untilLink(world, second, 'COMPLETED');
  await untilIdle(world);
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: second.id, type: 'button_press', device_id: id });
  await untilProcessed(world, second);

  await visitor.open(path);

  expect(visitor.heading).toContain('First Door');
  expect(visitor.page.text).not.toContain('Somebody rang the doorbell');
});
