import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { send } from '../support/clients/http.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { eventsOn, linkOn, recorded } from '../support/features/events.js';
import { untilProcessed } from '../support/features/inbox.js';
import { installed, linked, signedIn } from '../support/features/linking.js';
import type { EventWish } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

/** The time so many minutes ago. */
const ago = (minutes: number): Date => new Date(world.clock.now().getTime() - minutes * 60_000);

/** Ring sends an event of the owner's device, and it is applied. Returns its ID. */
async function tell({ ringUser }: Owner, event: Omit<EventWish, 'user_id'>): Promise<string> {
  const { request_id } = await world.ring.sendEvent({ user_id: ringUser.id, ...event });
  await untilProcessed(world, ringUser);
  return request_id;
}

/** The events that the page shows the owner at this address. */
async function eventsAt({ visitor }: Pick<Owner, 'visitor'>, address = '/events'): Promise<string[]> {
  await visitor.open(address);
  expect(visitor.page.status).toBe(200);
  return eventsOn(visitor.page.text);
}

/** The row of an event, without markup. */
function rowOf({ visitor }: Owner, id: string): string {
  const [, row = ''] = new RegExp(`<li class="event" id="event-${id}">([\\s\\S]*?)</li>`).exec(visitor.page.text) ?? [];
  return row
    .replace(/<[^>]+>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** An owner whose devices have no events yet. */
async function freshOwner(...wish: Parameters<typeof sharing> extends [unknown, ...infer Rest] ? Rest : never) {
  const owner = await sharing(world, ...wish);
  await untilProcessed(world, owner.ringUser);
  await world.sql('DELETE FROM device_events WHERE account_id = $1', [owner.ringUser.account_id]);
  return owner;
}

describe('the events', () => {
  test.each<[event: Omit<EventWish, 'user_id'>, words: string]>([
    [{ type: 'motion_detected', sub_type: 'human' }, 'A person was seen'],
    [{ type: 'motion_detected', sub_type: 'vehicle' }, 'A vehicle was seen'],
    [{ type: 'motion_detected', sub_type: 'motion' }, 'Motion'],
    [{ type: 'motion_detected', sub_type: 'other_motion' }, 'Motion'],
    [{ type: 'motion_detected', sub_type: 'hedgehog' }, 'Motion'],
    [{ type: 'button_press' }, 'Somebody rang the doorbell'],
    [{ type: 'device_offline' }, 'Went offline'],
    [{ type: 'device_online' }, 'Came online'],
  ])('say in plain words what %j was, where and when', async (event, words) => {
    const owner = await freshOwner({ name: 'Front Door' });
    const timestamp = Date.parse('2026-03-05T14:07:00Z');
    const id = await tell(owner, { ...event, timestamp });

    expect(await eventsAt(owner)).toEqual([id]);

    const watch =
      event.type === 'motion_detected' || event.type === 'button_press' ? ' Show the picture Watch the recording' : '';
    expect(rowOf(owner, id)).toBe(`${words} Front Door${watch} Mar 5, 2026, 2:07 PM UTC`);
    expect(owner.visitor.page.text).toContain('<time datetime="2026-03-05T14:07:00.000Z">');
    expect(linkOn(owner.visitor.page.text, 'Front Door')).toBe(owner.path);
    expect(owner.visitor.page.headers['cache-control']).toBe('no-store');
  });

  test('of all devices and all links of a user are in one list, newest first', async () => {
    const owner = await freshOwner({ name: 'Front Door' });
    const second = await world.ring.createUser({ devices: [{ name: 'Garage' }, { name: 'Garden' }] });
    await installed(world, second);
    const { url } = await world.ring.linkUrl(second);
    await owner.visitor.open(url);
    await owner.visitor.submit('/ring/link');
    await untilProcessed(world, second);
    await world.sql('DELETE FROM device_events WHERE account_id = $1', [second.account_id]);
    const [garage, garden] = second.devices;
    const other = { ringUser: second, device: { id: garage?.id ?? '', name: 'Garage' } };

    const [third = '', first = ''] = await recorded(world, owner, [{ occurredAt: ago(30) }, { occurredAt: ago(10) }]);
    const [fourth = '', secondOne = ''] = await recorded(world, other, [
      { occurredAt: ago(40) },
      { occurredAt: ago(20), deviceId: garden?.id ?? '' },
    ]);

    expect(await eventsAt(owner)).toEqual([first, secondOne, third, fourth]);
  });

  test('of one moment stand in the order of their IDs, and none is lost between two pages', async () => {
    const owner = await freshOwner();
    const ids = await recorded(
      world,
      owner,
      Array.from({ length: 60 }, (_, index) => ({
        occurredAt: ago(5),
        // Ring's IDs may be any UUID, even without a version.
        ...(index % 2 === 0 && { requestId: `00000000-0000-0000-0000-${randomUUID().slice(-12)}` }),
      })),
    );

    const first = await eventsAt(owner);
    const second = await eventsAt(owner, linkOn(owner.visitor.page.text, 'Older events'));
    const third = await eventsAt(owner, linkOn(owner.visitor.page.text, 'Older events'));

    expect([first.length, second.length, third.length]).toEqual([25, 25, 10]);
    expect([...first, ...second, ...third]).toEqual(ids.sort().reverse());
    expect(owner.visitor.page.text).not.toContain('Older events');
  });

  test('stay on their pages while new ones arrive, also late ones', async () => {
    const owner = await freshOwner();
    const ids = await recorded(
      world,
      owner,
      Array.from({ length: 70 }, (_, index) => ({ occurredAt: ago(index + 10) })),
    );
    expect(await eventsAt(owner)).toEqual(ids.slice(0, 25));
    const older = linkOn(owner.visitor.page.text, 'Older events');

    const newest = await recorded(
      world,
      owner,
      Array.from({ length: 30 }, (_, index) => ({ occurredAt: ago(index / 10) })),
    );
    const [late = ''] = await recorded(world, owner, [{ occurredAt: ago(40.5) }]);

    const second = await eventsAt(owner, older);
    expect(second).toEqual([...ids.slice(25, 31), late, ...ids.slice(31, 49)]);
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'Older events'))).toEqual(ids.slice(49));
    // The links to newer events lead all the way back.
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'Newer events'))).toEqual(second);
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'Newer events'))).toEqual(ids.slice(0, 25));
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'Newer events'))).toEqual(
      [...newest, ...ids].slice(5, 30),
    );
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'Newer events'))).toEqual(newest.slice(0, 25));
    expect(owner.visitor.page.text).not.toContain('Newer events');
    expect(owner.visitor.page.text).toContain('/assets/live-events.js');
  });

  test('end on an exact page', async () => {
    const owner = await freshOwner();
    await recorded(
      world,
      owner,
      Array.from({ length: 25 }, (_, index) => ({ occurredAt: ago(index) })),
    );
    expect(await eventsAt(owner)).toHaveLength(25);
    expect(owner.visitor.page.text).not.toMatch(/Older events|Newer events/);
  });

  test('are those of the device and the kind that are chosen, on every page', async () => {
    const name = 'Tür & "Tor" <b>';
    const owner = await freshOwner({ name });
    const people = await recorded(
      world,
      owner,
      Array.from({ length: 30 }, (_, index) => ({ occurredAt: ago(2 * index), subtype: 'human' })),
    );
    await recorded(
      world,
      owner,
      Array.from({ length: 30 }, (_, index) => ({ occurredAt: ago(2 * index + 1), subtype: 'vehicle' })),
    );
    const [ring = ''] = await recorded(world, owner, [{ occurredAt: ago(500), type: 'button_press', subtype: null }]);
    const device = encodeURIComponent(owner.device.id);

    expect(await eventsAt(owner, `/events?device=${device}&kind=person`)).toEqual(people.slice(0, 25));
    expect(owner.visitor.page.text).toContain('<option value="person" selected>People</option>');
    expect(owner.visitor.page.text).toContain('selected>Tür &amp; &#34;Tor&#34; &lt;b&gt;</option>');
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'Older events'))).toEqual(people.slice(25));
    expect(await eventsAt(owner, '/events?device=&kind=doorbell')).toEqual([ring]);
    expect(await eventsAt(owner, '/events?device=&kind=')).toHaveLength(25);
  });

  test('show the names of devices as text', async () => {
    const owner = await freshOwner({ name: '<img src=x onerror=alert(1)>' });
    await recorded(world, owner, [{ occurredAt: ago(1) }]);
    for (const address of ['/events', '/ring/home', owner.path]) {
      await owner.visitor.open(address);
      expect(owner.visitor.page.text).toContain('&lt;img src=x onerror=alert(1)&gt;');
      expect(owner.visitor.page.text).not.toContain('<img src=x');
    }
  });
});

describe('another user', () => {
  test('does not see them, not even with a device of the same ID', async () => {
    const id = `shared-${randomUUID()}`;
    const [owner, other] = [await freshOwner({ id }), await freshOwner({ id })];
    const [mine] = await recorded(world, owner, [{ occurredAt: ago(1) }]);

    expect(await eventsAt(owner)).toEqual([mine]);
    expect(await eventsAt(other)).toEqual([]);
    expect(await eventsAt(other, `/events?device=${id}`)).toEqual([]);
    for (const address of ['/ring/home', other.path]) {
      await other.visitor.open(address);
      expect(eventsOn(other.visitor.page.text)).toEqual([]);
    }
  });

  test('learns nothing of a device by filtering for it: it is as unknown as any', async () => {
    const [owner, other] = [await freshOwner(), await freshOwner()];
    const { cookie } = other.visitor;
    const strange = await send(world.url, `/events?device=${encodeURIComponent(owner.device.id)}`, { cookie });
    const unknown = await send(world.url, '/events?device=no-such-device', { cookie });
    expect(strange.status).toBe(404);
    expect(strange.text).toBe(unknown.text);
  });

  test('gets nowhere with a cursor of the owner’s: it is a time and nothing more', async () => {
    const [owner, other] = [await freshOwner(), await freshOwner()];
    await recorded(
      world,
      owner,
      Array.from({ length: 30 }, (_, index) => ({ occurredAt: ago(index) })),
    );
    await eventsAt(owner);
    const older = linkOn(owner.visitor.page.text, 'Older events');
    expect(await eventsAt(other, older)).toEqual([]);
    expect(other.visitor.page.text).toContain('That was the oldest event');
  });

  test('a visitor who is not signed in is led home', async () => {
    const answer = await send(world.url, '/events');
    expect([answer.status, answer.location]).toEqual([303, '/ring/home?sign-in']);
  });
});

describe('an address of the list', () => {
  const cursor = (content: unknown) => Buffer.from(JSON.stringify(content)).toString('base64url');
  const ID = '11111111-1111-4111-8111-111111111111';

  test.each([
    ['an unknown kind', 'kind=hedgehog'],
    ['a kind that every object has', 'kind=toString'],
    ['two kinds', 'kind=person&kind=vehicle'],
    ['two devices', 'device=a&device=b'],
    ['an empty cursor', 'before='],
    ['a cursor of one letter', 'before=x'],
    ['a cursor of U+0000', 'before=%00'],
    ['an endless cursor', `before=${'A'.repeat(5_000)}`],
    ['null', `before=${cursor(null)}`],
    ['only a time', `before=${cursor([1])}`],
    ['no ID', `before=${cursor([1, 'x'])}`],
    ['a time as text', `before=${cursor(['1', ID])}`],
    ['half a millisecond', `before=${cursor([1.5, ID])}`],
    ['a time before all times', `before=${cursor([-1, ID])}`],
    ['a time after all times', `before=${cursor([1e300, ID])}`],
    ['more than a time and an ID', `before=${cursor([1, ID, 2])}`],
    ['SQL behind the ID', `before=${cursor([1, `${ID}'; --`])}`],
    ['an object', `before=${cursor({ 0: 1, 1: ID })}`],
    ['two sides', `before=${cursor([1, ID])}&after=${cursor([1, ID])}`],
    ['two cursors', `before=${cursor([1, ID])}&before=${cursor([1, ID])}`],
  ])('with %s is refused, and leads on', async (_what, query) => {
    const { visitor } = await signedOwner();
    const answer = await send(world.url, `/events?${query}`, { cookie: visitor.cookie });
    expect([answer.status, answer.heading]).toEqual([400, 'That didn’t work']);
    expect(answer.text).toContain('href="/ring/home"');
  });

  test.each([0, 253_402_300_799_999])('may lie anywhere in time: %d', async (time) => {
    const { visitor } = await signedOwner();
    for (const side of ['before', 'after']) {
      const address = `/events?${side}=${cursor([time, ID])}`;
      const answer = await send(world.url, address, { cookie: visitor.cookie });
      expect([200, 303]).toContain(answer.status);
    }
  });

  test.each([
    ['of U+0000', '\0'],
    ['with an endless ID', 'x'.repeat(2_000)],
    ['of SQL', "' OR 1=1 --"],
    ['of markup', '<script>'],
  ])('for a device %s is 404', async (_what, device) => {
    const { visitor } = await signedOwner();
    const answer = await send(world.url, `/events?device=${encodeURIComponent(device)}`, { cookie: visitor.cookie });
    expect(answer.status).toBe(404);
    expect(answer.text).not.toContain('<script>');
  });

  test('is read, not written: 405', async () => {
    const { visitor } = await signedOwner();
    for (const path of ['/events', '/events/stream']) {
      const answer = await send(world.url, path, { method: 'PUT', cookie: visitor.cookie });
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    }
  });

  let owner: Owner | undefined;
  async function signedOwner(): Promise<Owner> {
    owner ??= await sharing(world);
    return owner;
  }
});

describe('where there is nothing to show, the page says why', () => {
  async function emptyPage(visitor: Owner['visitor'], address = '/events'): Promise<string> {
    await visitor.open(address);
    expect(visitor.page.status).toBe(200);
    expect(eventsOn(visitor.page.text)).toEqual([]);
    return visitor.page.text;
  }

  test('and how to link, before there is a link', async () => {
    const text = await emptyPage(await signedIn(world));
    expect(text).toContain('<h2>No Ring account is linked</h2>');
    expect(text).toContain('Find Porchlight in the Ring Appstore.');
    expect(text).not.toContain('<select');
    expect(text).not.toContain('live-events.js');
  });

  test.each([['REAUTH_REQUIRED'], ['REMOVED']])('when the link is %s', async (status) => {
    const owner = await freshOwner();
    await recorded(world, owner, [{ occurredAt: ago(1) }]);
    await world.sql('UPDATE account_links SET status = $2 WHERE account_id = $1', [owner.ringUser.account_id, status]);
    const text = await emptyPage(owner.visitor);
    expect(text).toContain(
      status === 'REMOVED' ? '<h2>No Ring account is linked</h2>' : '<h2>Your Ring account is not ready</h2>',
    );
  });

  test('when no device is shared', async () => {
    const { visitor, ringUser } = await linked(world, await world.ring.createUser({ devices: [] }));
    await untilProcessed(world, ringUser);
    expect(await emptyPage(visitor)).toContain('<h2>No devices are shared yet</h2>');
  });

  test('when nothing has happened, and what would make it happen', async () => {
    const owner = await freshOwner();
    const text = await emptyPage(owner.visitor);
    expect(text).toContain('<h2>No events yet</h2>');
    expect(text).toMatch(/inside a motion zone/);
    expect(text).toContain('live-events.js');
  });

  test('when nothing matches, with a way to see everything', async () => {
    const owner = await freshOwner();
    const [id] = await recorded(world, owner, [{ occurredAt: ago(1), subtype: 'human' }]);
    const text = await emptyPage(owner.visitor, '/events?kind=vehicle');
    expect(text).toContain('<h2>Nothing matches</h2>');
    expect(await eventsAt(owner, linkOn(text, 'Show all events'))).toEqual([id]);
  });
});

describe('a device that is removed', () => {
  test('takes its events with it, from every page', async () => {
    const owner = await freshOwner({ name: 'Front Door' });
    const id = await tell(owner, { type: 'button_press' });
    expect(await eventsAt(owner)).toEqual([id]);

    await tell(owner, { type: 'device_removed', timestamp: world.clock.now().getTime() + 1 });

    expect(await eventsAt(owner)).toEqual([]);
    expect(owner.visitor.page.text).not.toContain('Front Door');
    expect(await eventsAt(owner, '/ring/home')).toEqual([]);
  });

  test('stays away, whatever is recorded of it, until Ring shares it again', async () => {
    const owner = await freshOwner();
    await tell(owner, { type: 'device_removed', timestamp: world.clock.now().getTime() });
    const [id] = await recorded(world, owner, [{ occurredAt: ago(-1) }]);
    expect(await eventsAt(owner)).toEqual([]);

    await world.sql('UPDATE devices SET removed_at = NULL WHERE account_id = $1', [owner.ringUser.account_id]);
    expect(await eventsAt(owner)).toEqual([id]);
  });
});

describe('the latest events', () => {
  test('are five on the home page, of all devices, with the way to all', async () => {
    const owner = await freshOwner({ name: 'Front Door' });
    const ids = await recorded(
      world,
      owner,
      Array.from({ length: 7 }, (_, index) => ({ occurredAt: ago(index) })),
    );

    expect(await eventsAt(owner, '/ring/home')).toEqual(ids.slice(0, 5));
    expect(rowOf(owner, ids[0] ?? '')).toMatch(/^A person was seen Front Door /);
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'See all events'))).toEqual(ids);
  });

  test('are those of the device on its page, which does not say its name again', async () => {
    const owner = await freshOwner({ name: 'Front Door' });
    const [id = ''] = await recorded(world, owner, [
      { occurredAt: ago(1) },
      { occurredAt: ago(0), deviceId: 'another-device' },
    ]);

    expect(await eventsAt(owner, owner.path)).toEqual([id]);
    expect(rowOf(owner, id)).toMatch(/^A person was seen Show the picture Watch the recording \w+ \d/);
    expect(await eventsAt(owner, linkOn(owner.visitor.page.text, 'See all events'))).toEqual([id]);
    expect(owner.visitor.page.text).toContain(`<option value="${owner.device.id}" selected>`);
  });

  test('are not on the home page of a user without devices', async () => {
    const visitor = await signedIn(world);
    await visitor.open('/ring/home');
    expect(visitor.page.text).not.toContain('Latest events');
  });
});
