import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { Tables } from '../../src/database/tables.js';
import { type Answer, send, type Sent } from '../support/clients/http.js';
import { newEvent } from '../support/clients/webhooks.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { holdAccount, leaveBehind } from '../support/features/inbox.js';
import { once } from '../support/features/linking.js';
import { closeLiveView, OFFER, openLiveView } from '../support/features/live-views.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { holdLock, untilLocksAwaited } from '../support/waiting/locks.js';
import { tick, tickAndFinish } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import type { EventType } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const RING_TIMEOUT_MS = scaled(1_500);

let world: World;
beforeAll(async () => {
  world = await startWorld({ ringTimeoutMs: RING_TIMEOUT_MS });
});
afterEach(async () => {
  await world.ring.setFaults([]);
  await world.ring.setSettings({ whepLocation: 'relative' });
});
afterAll(() => world.stop());

const HELD_ANSWER = once('whep-post', { kind: 'hold' }, 'after');

type Row = Tables['live_views'];

function rowsOf({ ringUser }: Owner): Promise<Row[]> {
  return world.sql<Row>('SELECT * FROM live_views WHERE account_id = $1 ORDER BY started_at', [ringUser.account_id]);
}

const open = (owner: Owner, more?: Sent): Promise<Answer> => openLiveView(world.url, owner, more);

const close = (owner: Owner, location: string | null): Promise<Answer> => closeLiveView(world.url, owner, location);

async function stateOf(owner: Owner, location: string | null): Promise<unknown> {
  const { status, text } = await send(world.url, location ?? '', { cookie: owner.visitor.cookie });
  expect(status).toBe(200);
  return JSON.parse(text);
}

async function expectProblem(answer: Answer | Promise<Answer>, status: number, detail: RegExp): Promise<void> {
  const { status: answered, headers, text } = await answer;
  expect({ answered, text }).toMatchObject({ answered: status });
  expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
  const problem = JSON.parse(text) as { status: number; detail: string };
  expect(problem).toMatchObject({ type: 'about:blank', status });
  expect(problem.detail).toMatch(detail);
}

/** The sessions that Ring has or had for the owner's device. */
async function sessionsOf({ ringUser }: Owner): Promise<string[]> {
  const views = await world.ring.liveViews();
  return views.filter(({ account_id }) => account_id === ringUser.account_id).map(({ state }) => state);
}

const untilClosed = (owner: Owner): Promise<boolean> =>
  until('Ring has closed the session', async () => (await sessionsOf(owner)).join() === 'closed');

async function callsOf({ ringUser }: Owner, method: 'POST' | 'DELETE') {
  const requests = await world.ring.requests();
  return requests.filter(
    (one) => one.account_id === ringUser.account_id && one.method === method && one.path.includes('/whep/'),
  );
}

const untilOpening = (owner: Owner): Promise<Row> =>
  until('the live view is opening', async () => (await rowsOf(owner)).find(({ status }) => status === 'OPENING'));

/** Waits until Ring has opened the session and its answer is on the way. */
const untilOpenAtRing = (owner: Owner): Promise<boolean> =>
  until('Ring has opened the session', async () => (await sessionsOf(owner)).length > 0);

/** Sends a webhook that changes nothing at Ring. */
const webhook = ({ ringUser }: Owner, type: EventType) =>
  world.ring.sendEvent({ user_id: ringUser.id, type, effect: false, timestamp: world.clock.now().getTime() });

const untilEnded = (owner: Owner, reason: string): Promise<boolean> =>
  until(`the live view is ended: ${reason}`, async () => (await rowsOf(owner)).at(-1)?.end_reason === reason);

describe('a live view', () => {
  test('is answered as WHEP wants it: 201, Ring’s SDP answer, and an address of ours', async () => {
    const owner = await sharing(world);

    const answer = await open(owner);

    expect(answer.status).toBe(201);
    expect(answer.headers.get('content-type')).toMatch(/^application\/sdp/);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.text).toMatch(/^v=0\r\n[\s\S]*m=video 9 UDP\/TLS\/RTP\/SAVPF 102\r\n/);
    const [view] = await rowsOf(owner);
    expect(view).toMatchObject({ status: 'OPEN', end_reason: null, ended_at: null });
    expect(view?.session_path).toMatch(/^\/v1\/devices\/[^/]+\/media\/streaming\/whep\/sessions\/[^/]+$/);
    expect(answer.location).toBe(`${owner.path}/live-views/${view?.id ?? ''}`);
    expect(answer.everything).not.toContain(view?.session_path);
    expect(await sessionsOf(owner)).toEqual(['open']);
  });

  test('tells how it is: open, and when it ends by itself', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);

    expect(await stateOf(owner, location)).toEqual({
      status: 'OPEN',
      endReason: null,
      expiresAt: new Date(world.clock.now().getTime() + 60_000).toISOString(),
      secondsLeft: 60,
      endsByItself: false,
    });
  });

  test('is known here before Ring hears of it', async () => {
    const owner = await sharing(world);
    await world.ring.setFaults([once('whep-post', { kind: 'hold' })]);

    const answering = open(owner);
    await untilOpening(owner);
    expect(await sessionsOf(owner)).toEqual([]);
    await world.ring.release();

    expect((await answering).status).toBe(201);
  });

  test('may be told a whole address by Ring', async () => {
    const owner = await sharing(world);
    await world.ring.setSettings({ whepLocation: 'absolute' });

    const { status, location } = await open(owner);
    await close(owner, location);

    expect(status).toBe(201);
    await untilClosed(owner);
  });

  test.each(['trailing-slash', 'other-origin'] as const)('is closed at an address with %s', async (whepLocation) => {
    const owner = await sharing(world);
    await world.ring.setSettings({ whepLocation });

    const { status, location } = await open(owner);
    await close(owner, location);

    expect(status).toBe(201);
    await untilClosed(owner);
  });

  test.each(['missing', 'unreadable'] as const)(
    'is shown all the same when its address at Ring is %s, and ends by itself',
    async (whepLocation) => {
      const owner = await sharing(world);
      await world.ring.setSettings({ whepLocation });

      const { status, text, location } = await open(owner);

      expect([status, text]).toEqual([201, expect.stringMatching(/^v=0/)]);
      expect(await stateOf(owner, location)).toMatchObject({ status: 'OPEN', secondsLeft: 60, endsByItself: true });
      expect((await close(owner, location)).status).toBe(204);
      expect(await stateOf(owner, location)).toMatchObject({ status: 'ENDED', endReason: 'CLOSED' });
      await untilJobsAreDone(world);
      expect(await callsOf(owner, 'DELETE')).toEqual([]);
    },
  );

  test('may have sound: Ring answers both tracks', async () => {
    const audio = ['m=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:1', 'a=recvonly', 'a=rtpmap:111 opus/48000/2', ''];

    const { status, text } = await open(await sharing(world), { body: OFFER + audio.join('\r\n') });

    expect(status).toBe(201);
    expect(text.match(/^m=\w+/gm)).toEqual(['m=video', 'm=audio']);
  });

  test('works for a device whose ID needs escaping', async () => {
    const owner = await sharing(world, { id: `front/door?${randomUUID()}#%2e&"'<b>` });

    const { status, location } = await open(owner);

    expect(status).toBe(201);
    expect(await stateOf(owner, location)).toMatchObject({ status: 'OPEN' });
    expect((await close(owner, location)).status).toBe(204);
    await untilClosed(owner);
  });

  test('can be one of several of the same device', async () => {
    const owner = await sharing(world);

    const answers = await Promise.all([open(owner), open(owner), open(owner)]);

    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(await sessionsOf(owner)).toEqual(['open', 'open', 'open']);
  });
});

describe('a live view is not opened', () => {
  test('without a signed-in user: 401', async () => {
    const owner = await sharing(world);

    await expectProblem(open(owner, { cookie: undefined }), 401, /Sign in/);

    expect(await rowsOf(owner)).toEqual([]);
  });

  test.each<[what: string, headers: Record<string, string>]>([
    ['no token', { 'x-csrf-token': '' }],
    ['a made-up token', { 'x-csrf-token': 'f'.repeat(256) }],
  ])('for a request with %s: 403', async (_what, headers) => {
    const owner = await sharing(world);

    await expectProblem(open(owner, { headers }), 403, /./);

    expect(await rowsOf(owner)).toEqual([]);
  });

  test('for the token of another user: 403', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);

    await expectProblem(open(owner, { headers: { 'x-csrf-token': other.csrfToken } }), 403, /./);

    expect(await rowsOf(owner)).toEqual([]);
  });

  test.each(['text/plain', 'application/json', 'application/sdp2', 'application/x-www-form-urlencoded'])(
    'for an offer sent as %s: 415',
    async (type) => {
      const owner = await sharing(world);
      await expectProblem(open(owner, { headers: { 'content-type': type } }), 415, /application\/sdp/);
    },
  );

  test('for an offer of more than 64 KB: 413, and one of just that size gets through', async () => {
    const owner = await sharing(world);
    const padding = (size: number) => `${OFFER}a=${'x'.repeat(size - OFFER.length - 4)}\r\n`;

    await expectProblem(open(owner, { body: padding(65_537) }), 413, /large/);

    expect((await open(owner, { body: padding(65_536) })).status).toBe(201);
  });

  test.each<[what: string, body: string]>([
    ['is empty', ''],
    ['is no SDP', '{"sdp":"v=0"}'],
    ['Ring refuses', 'v=0\r\ns=-\r\n'],
    ['wants to send, too', OFFER.replace('recvonly', 'sendrecv')],
    ['has no video', OFFER.replace('m=video', 'm=audio')],
    ['was sent before its addresses were known', OFFER.replace(/^a=candidate.*\r\n/m, '')],
  ])('for a body that %s: 400', async (_what, body) => {
    const owner = await sharing(world);

    await expectProblem(open(owner, { body }), 400, /SDP offer/);

    expect((await rowsOf(owner)).every(({ end_reason }) => end_reason === 'FAILED')).toBe(true);
  });

  test.each(['no-such-device', '%00', '..%2f..', '%ff', 'x'.repeat(600)])('of the device %s: 404', async (id) => {
    const owner = await sharing(world);
    const answer = await open({ ...owner, path: `/devices/${id}` });
    expect(answer.status).toBe(id === '%ff' ? 400 : 404);
  });

  test('of another user’s device: 404, the same as for an unknown one', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);

    const strange = await open({ ...other, path: owner.path });
    const unknown = await open({ ...other, path: '/devices/no-such-device' });

    await expectProblem(strange, 404, /no such device/);
    expect(strange.text).toBe(unknown.text);
    expect(await rowsOf(owner)).toEqual([]);
  });

  test('of a device that was removed: 404, and Ring is not asked', async () => {
    const owner = await sharing(world);
    await webhook(owner, 'device_removed');
    await until('the device is removed', async () => (await removedAt(owner)) !== null);

    await expectProblem(open(owner), 404, /no longer shared/);

    expect(await callsOf(owner, 'POST')).toEqual([]);
  });

  test('of a device that we know to be offline: 409, and Ring is not asked', async () => {
    const owner = await sharing(world, { online: false });

    await expectProblem(open(owner), 409, /offline/);

    expect(await callsOf(owner, 'POST')).toEqual([]);
    expect(await rowsOf(owner)).toEqual([]);
  });

  test('of a device that Ring says is offline: 503', async () => {
    const owner = await sharing(world);
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_offline', deliver: 'dropped' });

    const answer = await open(owner);

    await expectProblem(answer, 503, /offline/);
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await rowsOf(owner)).toMatchObject([{ status: 'ENDED', end_reason: 'FAILED', session_path: null }]);
  });

  test('of a device that Ring does not know any more: 404', async () => {
    const owner = await sharing(world);
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_removed', deliver: 'dropped' });
    // The event that erases the device and its live view waits meanwhile.
    const release = await holdAccount(world, owner.ringUser);

    await expectProblem(open(owner), 404, /no longer shared/);

    expect(await rowsOf(owner)).toMatchObject([{ status: 'ENDED', end_reason: 'FAILED' }]);
    await release();
    await until('the device is removed here too', async () => (await removedAt(owner)) !== null);
  });

  test.each<[what: string, fault: { kind: string; [detail: string]: unknown }]>([
    ['answers 500', { kind: 'status', status: 500 }],
    ['answers 403', { kind: 'status', status: 403 }],
    ['answers 429', { kind: 'status', status: 429, retryAfterSeconds: 7 }],
    ['hangs up', { kind: 'reset' }],
    ['never answers', { kind: 'silence' }],
    ['answers with a page', { kind: 'body', status: 201, contentType: 'text/html', body: '<html>' }],
  ])('when Ring %s: 502', async (_what, fault) => {
    const owner = await sharing(world);
    await world.ring.setFaults([once('whep-post', fault)]);

    const answer = await open(owner);

    await expectProblem(answer, 502, /Ring could not open/);
    expect(answer.headers.get('retry-after')).toBe(fault.retryAfterSeconds === 7 ? '7' : null);
    expect(await rowsOf(owner)).toMatchObject([{ status: 'ENDED', end_reason: 'FAILED' }]);
  });

  test('by another method than POST: 405', async () => {
    const owner = await sharing(world);
    const answer = await send(world.url, `${owner.path}/live-views`, { cookie: owner.visitor.cookie });
    await expectProblem(answer, 405, /./);
    expect(answer.headers.get('allow')).toBe('POST');
  });

  async function removedAt({ ringUser, device }: Owner): Promise<Date | null> {
    const [found] = await world.sql<Pick<Tables['devices'], 'removed_at'>>(
      'SELECT removed_at FROM devices WHERE account_id = $1 AND id = $2',
      [ringUser.account_id, device.id],
    );
    return found?.removed_at ?? null;
  }
});

describe('too many live views', () => {
  test('in a minute are refused to their user alone: 429', async () => {
    const strict = await startWorld({ environment: { RATE_LIMIT_SCALE: '0.5' } });
    try {
      const [owner, other] = await Promise.all([sharing(strict), sharing(strict)]);
      const from = (who: Owner) =>
        send(strict.url, `${who.path}/live-views`, {
          body: OFFER,
          cookie: who.visitor.cookie,
          headers: { 'content-type': 'application/sdp', 'x-csrf-token': who.csrfToken },
        });
      for (let opened = 0; opened < 10; opened++) expect((await from(owner)).status).toBe(201);

      const refused = await from(owner);

      await expectProblem(refused, 429, /wait/);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect((await from(other)).status).toBe(201);
    } finally {
      await strict.stop();
    }
  });
});

describe('closing a live view', () => {
  test('closes it here and at Ring, and may be repeated', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);

    expect((await close(owner, location)).status).toBe(204);

    expect(await stateOf(owner, location)).toMatchObject({ status: 'ENDED', endReason: 'CLOSED' });
    await untilClosed(owner);
    expect((await close(owner, location)).status).toBe(204);
    await untilJobsAreDone(world, 'close_live_view');
    expect(await callsOf(owner, 'DELETE')).toHaveLength(1);
  });

  test('twice at once is closing it once', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);

    const answers = await Promise.all(Array.from({ length: 8 }, () => close(owner, location)));

    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(204));
    await untilClosed(owner);
    await untilJobsAreDone(world, 'close_live_view');
    expect(await callsOf(owner, 'DELETE')).toHaveLength(1);
  });

  test('while it opens: the opening is told, and Ring’s session is closed', async () => {
    const owner = await sharing(world);
    await world.ring.setFaults([HELD_ANSWER]);
    const opening = open(owner);
    const { id } = await untilOpening(owner);

    expect((await close(owner, `${owner.path}/live-views/${id}`)).status).toBe(204);

    await world.ring.release();
    await expectProblem(opening, 409, /closed while it opened/);
    expect(await rowsOf(owner)).toMatchObject([{ status: 'ENDED', end_reason: 'CLOSED' }]);
    await untilClosed(owner);
  });

  test.each<[what: string, fault: { kind: string; [detail: string]: unknown }]>([
    ['is away', { kind: 'status', status: 503 }],
    ['is too busy', { kind: 'status', status: 429, retryAfterSeconds: 1 }],
    ['hangs up', { kind: 'reset' }],
    ['does not take the token', { kind: 'status', status: 401 }],
  ])('when Ring %s is repeated until it is closed', async (_what, fault) => {
    const owner = await sharing(world);
    const { location } = await open(owner);
    await world.ring.setFaults([{ endpoint: 'whep-delete', fault, times: 2 }]);

    expect((await close(owner, location)).status).toBe(204);

    expect(await stateOf(owner, location)).toMatchObject({ status: 'ENDED', endReason: 'CLOSED' });
    await untilJobsAreDone(world, 'close_live_view');
    expect(await sessionsOf(owner)).toEqual(['closed']);
    expect(await callsOf(owner, 'DELETE')).toHaveLength(3);
  });

  test('when Ring stays away is given up once Ring has ended it by itself', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);
    await world.ring.setFaults([{ endpoint: 'whep-delete', fault: { kind: 'status', status: 503 } }]);
    await close(owner, location);
    await until('Ring was asked', async () => (await callsOf(owner, 'DELETE')).length > 0);

    world.clock.advance(60);
    await untilJobsAreDone(world, 'close_live_view');

    expect(await sessionsOf(owner)).toEqual(['expired']);
  });

  test('that has ended at Ring is no failure', async () => {
    const owner = await sharing(world, { power: 'battery' });
    const { location } = await open(owner);
    world.clock.advance(31);
    expect(await sessionsOf(owner)).toEqual(['expired']);

    expect((await close(owner, location)).status).toBe(204);

    await untilJobsAreDone(world, 'close_live_view');
    expect(await callsOf(owner, 'DELETE')).toMatchObject([{ status: 404 }]);
  });

  test('is for its user alone: 404, and it stays open', async () => {
    const [owner, other] = await Promise.all([sharing(world), sharing(world)]);
    const { location } = await open(owner);

    await expectProblem(close(other, location), 404, /no such live view/);
    const read = await send(world.url, location ?? '', { cookie: other.visitor.cookie });
    await expectProblem(read, 404, /no such live view/);

    expect(await rowsOf(owner)).toMatchObject([{ status: 'OPEN' }]);
  });

  test.each(['nonsense', randomUUID()])('of the unknown live view %s: 404', async (id) => {
    const owner = await sharing(world);
    await expectProblem(close(owner, `${owner.path}/live-views/${id}`), 404, /no such live view/);
    await expectProblem(close(owner, `/devices/%00/live-views/${id}`), 404, /no such live view/);
  });

  test('needs a session and its token: 401, 403', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);
    const headers = { 'x-csrf-token': owner.csrfToken };

    await expectProblem(send(world.url, location ?? '', { method: 'DELETE', headers }), 401, /Sign in/);
    await expectProblem(send(world.url, location ?? ''), 401, /Sign in/);
    const { cookie } = owner.visitor;
    await expectProblem(send(world.url, location ?? '', { method: 'DELETE', cookie }), 403, /./);
    await expectProblem(send(world.url, location ?? '', { method: 'PATCH', cookie }), 405, /./);

    expect(await rowsOf(owner)).toMatchObject([{ status: 'OPEN' }]);
  });

  test('follows by itself when the caller has gone before the answer', async () => {
    const owner = await sharing(world);
    await world.ring.setFaults([HELD_ANSWER]);
    const hangUp = new AbortController();
    const opening = fetch(`${world.url}${owner.path}/live-views`, {
      method: 'POST',
      body: OFFER,
      signal: hangUp.signal,
      headers: {
        'content-type': 'application/sdp',
        'x-csrf-token': owner.csrfToken,
        cookie: owner.visitor.cookie,
      },
    });
    const refused = expect(opening).rejects.toThrow();
    await untilOpening(owner);

    hangUp.abort();
    await refused;
    await world.ring.release();

    await untilClosed(owner);
    expect(await rowsOf(owner)).toMatchObject([{ status: 'ENDED', end_reason: 'CLOSED' }]);
  });
});

describe('a change of the device', () => {
  test.each([
    ['removed', 'device_removed', 'DEVICE_REMOVED'],
    ['offline', 'device_offline', 'DEVICE_OFFLINE'],
  ] as const)('when it is %s ends its live views, also at Ring', async (_what, type, reason) => {
    const owner = await sharing(world);
    const { location } = await open(owner);

    await webhook(owner, type);

    await untilEnded(owner, reason);
    expect(await stateOf(owner, location)).toMatchObject({ status: 'ENDED', endReason: reason });
    await untilClosed(owner);
  });

  test('when several are offline at once ends the live views of each on behalf of its own webhook', async () => {
    const owners = [await sharing(world), await sharing(world)];
    for (const owner of owners) await open(owner);
    const told = owners.map((owner) => ({
      owner,
      event: newEvent({
        accountId: owner.ringUser.account_id,
        deviceId: owner.device.id,
        type: 'device_offline',
        timestamp: world.clock.now().getTime(),
      }),
    }));

    await leaveBehind(world, ...told.map(({ event }) => event));

    for (const { owner, event } of told) {
      await untilEnded(owner, 'DEVICE_OFFLINE');
      await untilClosed(owner);
      expect(await callsOf(owner, 'DELETE')).toMatchObject([{ request_id: event.meta.request_id }]);
    }
  });

  test.each([
    ['removed', 'device_removed', 'DEVICE_REMOVED', 404],
    ['offline', 'device_offline', 'DEVICE_OFFLINE', 409],
  ] as const)('when it is %s while a live view opens closes that at Ring', async (_what, type, reason, status) => {
    const owner = await sharing(world);
    await world.ring.setFaults([HELD_ANSWER]);
    const opening = open(owner);
    await untilOpenAtRing(owner);

    await webhook(owner, type);
    await untilEnded(owner, reason);

    await world.ring.release();
    await expectProblem(opening, status, /device/);
    expect(await rowsOf(owner)).toMatchObject([{ status: 'ENDED', end_reason: reason }]);
    await untilClosed(owner);
  });

  test('when its row is erased while a live view opens closes that at Ring', async () => {
    const owner = await sharing(world);
    await world.ring.setFaults([HELD_ANSWER]);
    const opening = open(owner);
    await untilOpenAtRing(owner);

    await world.sql('DELETE FROM live_views WHERE account_id = $1', [owner.ringUser.account_id]);

    await world.ring.release();
    await expectProblem(opening, 404, /no longer shared/);
    await untilClosed(owner);
  });

  test('when the whole link ends makes no call to Ring, whether a live view is open or opening', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);
    await world.ring.setFaults([HELD_ANSWER]);
    const opening = open(owner);
    await until('Ring has opened both', async () => (await sessionsOf(owner)).length === 2);

    await webhook(owner, 'app_integration_removed');
    await untilEnded(owner, 'LINK_REMOVED');

    await world.ring.release();
    await expectProblem(opening, 404, /no longer shared/);
    expect(await stateOf(owner, location)).toMatchObject({ status: 'ENDED', endReason: 'LINK_REMOVED' });
    await untilJobsAreDone(world, 'close_live_view');
    expect(await callsOf(owner, 'DELETE')).toEqual([]);
  });

  test('when the link ends right after closing leaves nothing to do', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);
    await world.ring.setFaults([{ endpoint: 'whep-delete', fault: { kind: 'status', status: 503 } }]);
    await close(owner, location);
    await until('Ring was asked', async () => (await callsOf(owner, 'DELETE')).length > 0);

    await webhook(owner, 'app_integration_removed');
    await until('the link is removed', async () => {
      const [link] = await world.sql('SELECT status FROM account_links WHERE account_id = $1', [
        owner.ringUser.account_id,
      ]);
      return link?.status === 'REMOVED';
    });
    const asked = (await callsOf(owner, 'DELETE')).length;
    await untilJobsAreDone(world, 'close_live_view');

    expect((await callsOf(owner, 'DELETE')).length - asked).toBeLessThanOrEqual(1);
  });

  test.each([
    [
      'removed',
      `removed_at = now(), online = NULL, online_at = NULL, capabilities = NULL, configurations = NULL,
                 location = NULL, added_at = NULL, fetched_at = NULL`,
      404,
    ],
    ['offline', 'online = false', 409],
  ])('when it is being %s as the live view begins: it never begins', async (_what, change, status) => {
    const owner = await sharing(world);
    const other = new pg.Client({ connectionString: world.databaseUrl });
    await other.connect();
    try {
      await other.query('BEGIN');
      await other.query(`UPDATE devices SET ${change} WHERE account_id = $1`, [owner.ringUser.account_id]);
      const opening = open(owner);
      await untilLocksAwaited(world, 1);
      await other.query('COMMIT');

      await expectProblem(opening, status, /device/);
      expect(await rowsOf(owner)).toEqual([]);
      expect(await callsOf(owner, 'POST')).toEqual([]);
    } finally {
      await other.end();
    }
  });
});

describe('the time limit', () => {
  test('of 60 s ends a live view without a call to Ring', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);

    world.clock.advance(59);
    await tickAndFinish('end expired live views', world.url);
    expect(await stateOf(owner, location)).toMatchObject({ status: 'OPEN' });
    world.clock.advance(1);
    await tick('end expired live views');

    await untilEnded(owner, 'TIME_LIMIT');
    expect(await stateOf(owner, location)).toMatchObject({ status: 'ENDED', endReason: 'TIME_LIMIT' });
    expect((await close(owner, location)).status).toBe(204);
    await untilJobsAreDone(world, 'close_live_view');
    expect(await callsOf(owner, 'DELETE')).toEqual([]);
  });

  test('also ends a live view that a killed process was opening', async () => {
    const owner = await sharing(world);
    await world.sql(
      `INSERT INTO live_views (id, user_id, link_id, account_id, device_id, status, started_at, expires_at)
       SELECT gen_random_uuid(), user_id, id, account_id, $2, 'OPENING', $3, $3::timestamptz + interval '60 s'
         FROM account_links WHERE account_id = $1`,
      [owner.ringUser.account_id, owner.device.id, world.clock.now()],
    );

    world.clock.advance(60);
    await tick('end expired live views');

    await untilEnded(owner, 'TIME_LIMIT');
  });

  test('may be kept by several instances at once', async () => {
    const owner = await sharing(world);
    await world.startAnother();
    await Promise.all([open(owner), open(owner), open(owner)]);

    world.clock.advance(60);
    await tick('end expired live views');

    await until('all are ended', async () =>
      (await rowsOf(owner)).every(({ end_reason }) => end_reason === 'TIME_LIMIT'),
    );
    expect(world.log.filter((line) => line.includes('a periodic task failed'))).toEqual([]);
  });

  test('of a day ends our memory of it', async () => {
    const owner = await sharing(world);
    const { location } = await open(owner);
    await close(owner, location);

    world.clock.advance(24 * 60 * 60);
    await tickAndFinish('forget ended live views', world.url);
    expect(await rowsOf(owner)).toHaveLength(1);
    world.clock.advance(1);
    await tick('forget ended live views');

    await until('its row is purged', async () => (await rowsOf(owner)).length === 0);
    await expectProblem(close(owner, location), 404, /no such live view/);
  });
});

test.each([
  ['of the same two', 'OPENING', 'device_offline'],
  ['of which one erases what the other has ended', 'ENDED', 'device_removed'],
] as const)(
  'two endings at once, %s, lock live views in one order: neither waits for the other',
  async (_what, status, type) => {
    const owner = await sharing(world);
    const [first = '', second = ''] = [randomUUID(), randomUUID()].sort();
    // Stored the other way round: the order of the table is the wrong one.
    for (const id of [second, first]) {
      await world.sql(
        `INSERT INTO live_views (id, user_id, link_id, account_id, device_id, status, end_reason, started_at, expires_at, ended_at)
       SELECT $1, user_id, id, account_id, $3, $5, CASE $5 WHEN 'ENDED' THEN 'CLOSED' END, $4::timestamptz,
              $4::timestamptz + interval '1 minute', CASE $5 WHEN 'ENDED' THEN $4::timestamptz END
         FROM account_links WHERE account_id = $2`,
        [id, owner.ringUser.account_id, owner.device.id, world.clock.now(), id === first ? status : 'OPENING'],
      );
    }
    const release = await holdLock(world, 'SELECT FROM live_views WHERE id = $1 FOR UPDATE', [first]);

    await world.ring.sendEvent({ user_id: owner.ringUser.id, device_id: owner.device.id, type });
    await untilLocksAwaited(world, 1);
    await world.sql('SELECT FROM live_views WHERE id = $1 FOR UPDATE NOWAIT', [second]);

    await release();
    await until('both have ended', async () => (await rowsOf(owner)).every((row) => row.status === 'ENDED'));
  },
);
