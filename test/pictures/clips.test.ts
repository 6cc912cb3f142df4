import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { linkOn } from '../support/features/events.js';
import { send } from '../support/clients/http.js';
import { untilIdle, untilProcessed } from '../support/features/inbox.js';
import { once as aFault } from '../support/features/linking.js';
import type { NewRecording } from '../support/worlds/ring.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** A video without an end to speak of: far more than all buffers between Ring and the browser hold. */
const LARGE_BYTES = 256 * 1024 * 1024;

/**
 * Stands between the app and the simulator. It hands on every call, and while `isLarge` it gives a large clip in the
 * simulator's place, as fast as it is taken.
 */
interface StandIn {
  server: Server;
  url: string;
  target: string;
  isLarge: boolean;
  /** After so many bytes it hangs up. */
  breaksAt: number;
  /** The bytes of the last clip that have left the stand-in. */
  sent: number;
  /** Whether the caller hung up before its end. */
  wasHungUp: boolean;
  /** The streams that are open. */
  open: number;
}

async function startStandIn(): Promise<StandIn> {
  const server = createServer((asked, answer) => {
    if (standIn.isLarge && asked.url?.endsWith('/media/video/download') === true) {
      answer.writeHead(303, { location: `${standIn.url}/large` }).end();
    } else if (asked.url === '/large') {
      standIn.sent = 0;
      standIn.wasHungUp = false;
      standIn.open += 1;
      answer.writeHead(200, { 'content-type': 'video/mp4', 'content-length': LARGE_BYTES });
      answer.once('close', () => {
        standIn.open -= 1;
        standIn.wasHungUp = !answer.writableFinished;
      });
      const piece = Buffer.alloc(64 * 1024);
      piece.write('\0\0\0\x08ftyp', 'latin1');
      const write = (): void => {
        while (standIn.sent < LARGE_BYTES && !answer.destroyed) {
          standIn.sent += piece.length;
          if (standIn.sent > standIn.breaksAt) {
            answer.destroy();
            return;
          }
          if (!answer.write(piece)) {
            answer.once('drain', write);
            return;
          }
        }
        answer.end();
      };
      write();
    } else {
      const on = request(standIn.target + (asked.url ?? ''), { method: asked.method, headers: asked.headers });
      on.once('response', (given) => {
        answer.writeHead(given.statusCode ?? 502, given.headers);
        given.pipe(answer);
      });
      on.once('error', () => answer.destroy());
      asked.pipe(on);
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const standIn: StandIn = {
    server,
    url,
    target: '',
    isLarge: false,
    breaksAt: Infinity,
    sent: 0,
    wasHungUp: false,
    open: 0,
  };
  return standIn;
}

let standIn: StandIn;
let world: World;
let owner: Owner;
beforeAll(async () => {
  standIn = await startStandIn();
  world = await startWorld({ environment: { RING_API_URL: standIn.url } });
  standIn.target = world.ring.url;
  owner = await sharing(world);
  world.clock.advance(3_600);
});
afterEach(async () => {
  standIn.isLarge = false;
  await world.ring.release();
  await world.ring.setSettings({ clipMinBytes: 0, clipRedirect: 303 });
});
afterAll(async () => {
  await world.stop();
  standIn.server.close();
  standIn.server.closeAllConnections();
});

/** A minute and more that a device has recorded. Returns the address of its page. */
async function recorded(more: Partial<NewRecording> = {}, of = owner, { clock, ring } = world): Promise<string> {
  clock.advance(600);
  const start = clock.now().getTime();
  await ring.record({ user_id: of.ringUser.id, device_id: of.device.id, start, end: start + 120_000, ...more });
  clock.advance(600);
  // The clip begins 5 s before the event.
  return `${of.path}/recordings/${start + 5_000}`;
}

interface Video {
  status: number;
  headers: Headers;
  bytes: Buffer;
}

async function video(page: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Video> {
  const { cookie } = owner.visitor;
  const answer = await fetch(`${world.url}${page}/video`, { method, headers: { cookie, ...headers } });
  return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
}

const lastClip = async () => {
  const requests = await world.ring.requests();
  return requests.findLast(({ path }) => path.endsWith('/media/video/download'));
};

describe('an event', () => {
  test('of motion or of the bell leads to its recording, which begins a little before it', async () => {
    const timestamp = world.clock.now().getTime();
    const { ringUser, device, visitor } = owner;
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'button_press', timestamp });
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_online', timestamp });
    await untilProcessed(world, ringUser);
    world.clock.advance(600);
    for (const list of ['/events', owner.path]) {
      const { text } = await visitor.open(list);
      expect(text.match(/Watch the recording/g)).toHaveLength(1);
      expect(linkOn(text, 'Watch the recording')).toBe(`${owner.path}/recordings/${timestamp}`);
    }

    const { status, text, headers } = await visitor.open(`${owner.path}/recordings/${timestamp}`);
    expect(status).toBe(200);
    expect(text).toMatch(/<video [^>]*src="[^"]+\/video"[^>]* controls/);
    expect(text).toContain(device.name);
    expect(headers['content-security-policy']).toContain("media-src 'self'");
    expect(await lastClip()).toMatchObject({
      asked: JSON.stringify({ timestamp: timestamp - 5_000, duration: 60_000 }),
      device_id: device.id,
    });
    // The recording begins with the press, and 8 s of it is all there is.
    expect(text).toContain('Ring has recorded 8 seconds of this minute.');
    expect(await video(`${owner.path}/recordings/${timestamp}`)).toMatchObject({ status: 200 });
    expect((await video(`${owner.path}/recordings/${timestamp}`)).headers.get('x-media-length')).toBe('8000');
    // Watching records nothing, and nothing is stored.
    expect(await world.sql('SELECT 1 FROM snapshots')).toEqual([]);
  });

  test('right after the consent has a clip that does not begin before it', async () => {
    const fresh = await sharing(world);
    const at = world.clock.now().getTime();
    await world.ring.record({ user_id: fresh.ringUser.id, start: at, end: at + 60_000 });
    world.clock.advance(600);
    expect(await fresh.visitor.open(`${fresh.path}/recordings/${at}`)).toMatchObject({ status: 200 });
    expect(await lastClip()).toMatchObject({ asked: JSON.stringify({ timestamp: at, duration: 60_000 }) });
  });
});

test('a recording from right after the consent by Ring’s clock begins with the event', async () => {
  const page = await recorded();
  await world.ring.setFaults([aFault('clip', { kind: 'status', status: 403, code: 'TIME_RANGE_NOT_AUTHORIZED' })]);
  expect(await owner.visitor.open(page)).toMatchObject({ status: 200 });
  const timestamp = Number(page.split('/').at(-1));
  expect(await lastClip()).toMatchObject({ asked: JSON.stringify({ timestamp, duration: 60_000 }) });
});

describe('the video', () => {
  let page: string;
  let whole: Buffer;
  beforeAll(async () => {
    page = await recorded();
    await world.ring.setSettings({ clipMinBytes: 300_000 });
    whole = (await video(page)).bytes;
    await world.ring.setSettings({ clipMinBytes: 0 });
  });

  const partly = async (range: string, headers: Record<string, string> = {}): Promise<Video> => {
    await world.ring.setSettings({ clipMinBytes: 300_000 });
    return video(page, { range, ...headers });
  };

  test('comes whole, with its size', async () => {
    expect(whole).toHaveLength(300_000);
    expect(whole.toString('latin1', 4, 8)).toBe('ftyp');
    await world.ring.setSettings({ clipMinBytes: 300_000 });
    const { status, headers, bytes } = await video(page);
    expect(status).toBe(200);
    expect(bytes.equals(whole)).toBe(true);
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-type': 'video/mp4',
      'content-length': '300000',
      'accept-ranges': 'bytes',
      'cache-control': 'no-store',
    });
    expect(headers.get('x-media-length')).toBeNull();
  });

  test.each([
    ['bytes=0-', 0, 299_999],
    ['bytes=0-0', 0, 0],
    ['bytes=1-99999', 1, 99_999],
    ['bytes=70000-70001', 70_000, 70_001],
    ['bytes=299999-', 299_999, 299_999],
    ['bytes=200000-999999999', 200_000, 299_999],
    ['bytes=-1000', 299_000, 299_999],
    ['bytes=-999999999', 0, 299_999],
  ])('comes in the range %s, byte for byte', async (range, first, last) => {
    const { status, headers, bytes } = await partly(range);
    expect(status).toBe(206);
    expect(headers.get('content-range')).toBe(`bytes ${first}-${last}/300000`);
    expect(headers.get('content-length')).toBe(`${last - first + 1}`);
    expect(bytes.equals(whole.subarray(first, last + 1))).toBe(true);
  });

  test.each(['bytes=300000-', 'bytes=999999-1000000', 'bytes=-0'])('has nothing in the range %s', async (range) => {
    const { status, headers } = await partly(range);
    expect(status).toBe(416);
    expect(headers.get('content-range')).toBe('bytes */300000');
  });

  test.each(['bytes=5-3', 'bytes=-', 'bytes=a-b', 'bytes=0-1,5-6', 'items=0-1'])(
    'comes whole for %s',
    async (range) => {
      const { status, bytes } = await partly(range);
      expect(status).toBe(200);
      expect(bytes.equals(whole)).toBe(true);
    },
  );

  test('comes whole when the range is for a former version', async () => {
    expect(await partly('bytes=0-1', { 'if-range': '"former"' })).toMatchObject({ status: 200 });
  });

  test('comes whole, and says no size, when Ring does not say it', async () => {
    await world.ring.setFaults([
      aFault('clip-media', { kind: 'body', status: 200, contentType: 'video/mp4', body: '\0\0\0\x08ftypvideo' }),
    ]);
    const { status, headers, bytes } = await video(page, { range: 'bytes=4-7' });
    expect(status).toBe(200);
    expect(bytes.toString('latin1')).toBe('\0\0\0\x08ftypvideo');
    expect(headers.get('content-length')).toBeNull();
    expect(headers.get('accept-ranges')).toBeNull();
  });

  test('is described by HEAD, as it is', async () => {
    await world.ring.setSettings({ clipMinBytes: 300_000 });
    const { status, headers, bytes } = await video(page, { range: 'bytes=0-1' }, 'HEAD');
    expect(status).toBe(200);
    expect(headers.get('content-length')).toBe('300000');
    expect(headers.get('content-type')).toBe('video/mp4');
    expect(bytes).toHaveLength(0);
  });

  test('comes with a new token when Ring refuses the old one', async () => {
    await world.ring.setFaults([aFault('clip', { kind: 'status', status: 401 })]);
    expect(await video(page)).toMatchObject({ status: 200 });
  });

  test('is for its user alone', async () => {
    const other = await sharing(world);
    const { status } = await send(world.url, `${page}/video`, { cookie: other.visitor.cookie });
    expect(status).toBe(404);
    expect(await send(world.url, `${page}/video`)).toMatchObject({ status: 401 });
    expect(await send(world.url, page)).toMatchObject({ status: 303, location: '/ring/home?sign-in' });
  });
});

describe('a large video', () => {
  let page: string;
  beforeAll(async () => {
    page = await recorded();
  });

  async function open(of = page, { visitor } = owner, { url } = world): Promise<IncomingMessage> {
    standIn.isLarge = true;
    const asked = request(`${url}${of}/video`, { headers: { cookie: visitor.cookie } });
    asked.on('error', () => undefined);
    asked.end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    answer.on('error', () => undefined);
    return answer;
  }

  const untilAllAreClosed = () => until('Ring’s streams are closed', () => Promise.resolve(standIn.open === 0));

  test('waits at Ring for a browser that does not read, and goes on when it does', async () => {
    const answer = await open();
    answer.pause();
    // The app has had many turns since the last byte has left Ring.
    let idleTurns = 0;
    for (let sent = -1; idleTurns < 200;) {
      await send(world.url, '/livez');
      idleTurns = standIn.sent === sent ? idleTurns + 1 : 0;
      sent = standIn.sent;
    }
    expect(standIn.sent).toBeGreaterThan(0);
    expect(standIn.sent).toBeLessThan(LARGE_BYTES / 4);

    let received = 0;
    for await (const chunk of answer) received += (chunk as Buffer).length;
    expect(received).toBe(LARGE_BYTES);
    await untilAllAreClosed();
  });

  test('is no longer asked of Ring when the browser hangs up', async () => {
    const answer = await open();
    await once(answer, 'data');
    answer.destroy();
    await untilAllAreClosed();
    expect(standIn.wasHungUp).toBe(true);
    expect(standIn.sent).toBeLessThan(LARGE_BYTES);
  });

  test('is no longer asked of Ring after the range that the browser wants, nor after the page has asked', async () => {
    standIn.isLarge = true;
    expect(await video(page, { range: 'bytes=100-199' })).toMatchObject({ status: 206 });
    await untilAllAreClosed();
    expect(standIn.wasHungUp).toBe(true);
    await owner.visitor.open(page);
    await untilAllAreClosed();
    expect(standIn.wasHungUp).toBe(true);
  });

  test('ends when its device is removed', async () => {
    const leaving = await sharing(world);
    const answer = await open(await recorded({}, leaving), leaving);
    expect(answer.statusCode).toBe(200);
    expect(standIn.open).toBe(1);

    await world.ring.sendEvent({
      user_id: leaving.ringUser.id,
      type: 'device_removed',
      device_id: leaving.device.id,
    });

    await untilAllAreClosed();
    expect(standIn.wasHungUp).toBe(true);
    answer.destroy();
  });

  test('ends when its user signs out', async () => {
    const leaving = await sharing(world);
    const answer = await open(await recorded({}, leaving), leaving);
    answer.pause();
    expect(answer.statusCode).toBe(200);
    expect(standIn.open).toBe(1);

    await leaving.visitor.open('/ring/home');
    await leaving.visitor.submit('/sign-out');

    await untilAllAreClosed();
    expect(standIn.wasHungUp).toBe(true);
    answer.destroy();
  });

  test('ends when its device loses the subscription', async () => {
    const own = await startStandIn();
    const needing = await startWorld({ environment: { RING_API_URL: own.url, SUBSCRIPTION_REQUIRED: 'device' } });
    own.target = needing.ring.url;
    const subscriber = await sharing(needing);
    const subscription = {
      user_id: subscriber.ringUser.id,
      subscription_id: 'subscription',
      device_ids: [subscriber.device.id],
    };
    const expires_at = new Date(needing.clock.now().getTime() + 30 * 86_400_000).toISOString();
    await needing.ring.sendEvent({ ...subscription, type: 'subscription_activated', expires_at });
    await untilIdle(needing);
    const at = await recorded({}, subscriber, needing);
    own.isLarge = true;
    const answer = await open(at, subscriber, needing);
    expect(answer.statusCode).toBe(200);
    expect(own.open).toBe(1);

    await needing.ring.sendEvent({ ...subscription, type: 'subscription_deactivated' });

    await until('Ring’s stream is closed', () => Promise.resolve(own.open === 0));
    expect(own.wasHungUp).toBe(true);
    answer.destroy();
    await needing.stop();
    own.server.close();
    own.server.closeAllConnections();
  });

  test('breaks off when it breaks off at Ring, so that it is not taken for a whole one', async () => {
    standIn.breaksAt = 1024 * 1024;
    const answer = await open();
    let received = 0;
    const reading = (async () => {
      for await (const chunk of answer) received += (chunk as Buffer).length;
    })();
    await expect(reading).rejects.toThrow('aborted');
    expect(received).toBeLessThan(LARGE_BYTES);
    standIn.breaksAt = Infinity;
  });

  test('is streamed to one user a few times at once, and no more', async () => {
    const answers: IncomingMessage[] = [];
    for (let index = 0; index < 5; index++) answers.push(await open());
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 200, 429]);
    expect(answers[4]?.headers['retry-after']).toBeDefined();
    answers[0]?.destroy();
    await until('there is a place again', async () => {
      const again = await open();
      answers.push(again);
      return again.statusCode === 200;
    });
    for (const answer of answers) answer.destroy();
    await untilAllAreClosed();
  });
});

describe('without a recording, the page and the video say why, and what to do', () => {
  async function expectProblem(page: string, status: number, heading: string, step: RegExp): Promise<void> {
    const shown = await owner.visitor.open(page);
    expect(shown.status).toBe(status);
    expect(shown.text).toContain(heading);
    expect(shown.text).toMatch(step);
    expect(shown.text).not.toContain('<video');
    expect(await video(page)).toMatchObject({ status });
  }

  test('nothing was recorded', async () => {
    world.clock.advance(1_200);
    const at = world.clock.now().getTime() - 600_000;
    await expectProblem(`${owner.path}/recordings/${at}`, 404, 'Nothing was recorded', /Ring plan/);
  });

  test('nothing can be recorded in the future', async () => {
    const at = world.clock.now().getTime() + 600_000;
    await expectProblem(`${owner.path}/recordings/${at}`, 404, 'Nothing was recorded', /Ring plan/);
  });

  test('it was before the user shared the device, of which Ring is not asked', async () => {
    const before = (await world.ring.requests()).length;
    const at = world.clock.now().getTime() - 30 * 86_400_000;
    await expectProblem(`${owner.path}/recordings/${at}`, 403, 'From before you shared the device', /the Ring app/);
    const since = (await world.ring.requests()).slice(before);
    expect(since.filter(({ path }) => path.includes('/media/'))).toEqual([]);
  });

  test.each([
    ['TIME_RANGE_NOT_AUTHORIZED', 403, 'clip', 403, 'From before you shared the device', /the Ring app/],
    ['SERVER_BUSY', 503, 'clip-media', 503, 'Ring is busy', /load this page again/],
    ['RECORDING_NOT_READY', 425, 'clip-media', 503, 'The recording is not ready', /Wait a minute/],
    ['CORRUPT_RECORDING', 422, 'clip-media', 502, 'The recording is damaged', /Ring app/],
    ['INTERNAL_ERROR', 500, 'clip', 502, 'The recording did not come', /in a minute/],
  ] as const)('Ring says %s', async (code, status, endpoint, answer, heading, step) => {
    const page = await recorded();
    await world.ring.setFaults([{ endpoint, fault: { kind: 'status', status, code } }]);
    await expectProblem(page, answer, heading, step);
    if (answer === 503) expect(owner.visitor.page.headers['retry-after'] ?? '30').toMatch(/^\d+$/);
  });

  test('it is encrypted', async () => {
    const page = await recorded();
    await world.ring.changeDevice(owner.ringUser, { encryption: 'account' });
    await expectProblem(page, 409, 'The recording is encrypted', /Watch it in the Ring app/);
    await world.ring.changeDevice(owner.ringUser, { encryption: 'none' });
  });

  test('the device is gone, which is found out', async () => {
    const leaving = await sharing(world);
    const page = await recorded({}, leaving);
    await world.ring.sendEvent({
      user_id: leaving.ringUser.id,
      type: 'device_removed',
      device_id: leaving.device.id,
      deliver: 'dropped',
    });
    const shown = await leaving.visitor.open(page);
    expect(shown.status).toBe(404);
    expect(shown.text).toContain('no longer shared in the Ring app');
    await until('the device is removed', async () => {
      const removed = await world.sql('SELECT 1 FROM devices WHERE account_id = $1 AND removed_at IS NOT NULL', [
        leaving.ringUser.account_id,
      ]);
      return removed.length === 1;
    });
  });

  test('Ring hangs up', async () => {
    const page = await recorded();
    await world.ring.setFaults([{ endpoint: 'clip-media', fault: { kind: 'reset' } }]);
    await expectProblem(page, 502, 'The recording did not come', /in a minute/);
  });

  test.each(['x', '-1', '1.5', '99999999999999999999', '123'])('the address %s names no time', async (at) => {
    expect((await owner.visitor.open(`${owner.path}/recordings/${at}`)).status).toBe(404);
  });
});
