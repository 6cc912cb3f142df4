import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchBrowser, newContext, visitAs } from '../support/clients/browser.js';
import { tabTo } from '../support/clients/person.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
let browser: Browser;
let context: BrowserContext;
let page: Page;
const complaints: string[] = [];
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld(), launchBrowser()]);
  context = await newContext(browser, { viewport: { width: 320, height: 640 } });
  page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
});
afterAll(async () => {
  await context.close();
  await browser.close();
  await world.stop();
});

/** Opens the page of the owner's device in the browser. */
async function visit(owner: Owner): Promise<void> {
  await visitAs(page, owner.visitor, owner.path);
}

const watch = () => page.getByRole('button', { name: 'Watch live' }).click();
const frames = () =>
  page.evaluate<number>('document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames');
const status = () => page.locator('.live [role="status"]').innerText();

const untilWatching = () => until('frames arrive', async () => (await frames()) > 5);
const untilTold = (words: string) => until(`the page says ${words}`, async () => (await status()).includes(words));

async function sessionsOf(owner: Owner): Promise<string[]> {
  const views = await world.ring.liveViews();
  return views.filter(({ device_id }) => device_id === owner.device.id).map(({ state }) => state);
}

async function tell(
  owner: Owner,
  type: 'device_offline' | 'device_online' | 'device_removed',
  seconds: number,
): Promise<void> {
  const timestamp = world.clock.now().getTime() + seconds * 1_000;
  await world.ring.sendEvent({ user_id: owner.ringUser.id, type, device_id: owner.device.id, timestamp });
}

describe('watching live', () => {
  test('shows frames that move, and how long it lasts; one click ends it, here and at Ring', async () => {
    const owner = await sharing(world);
    await visit(owner);

    await watch();
    await untilWatching();

    expect(await page.getByRole('timer').innerText()).toMatch(/^At most \d+ seconds left$/);
    const before = await frames();
    await until('more frames arrive', async () => (await frames()) > before + 5);
    expect(await sessionsOf(owner)).toEqual(['open']);

    await page.getByRole('button', { name: 'End live view' }).click();
    expect(await status()).toBe('The live view is closed.');
    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
  });

  test('says why it ends when the device goes offline, and offers it again when it is back', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    await tell(owner, 'device_offline', 1);
    await untilTold('because the device went offline');
    await page.getByText('Offline since').waitFor();

    await page.reload();
    expect(await page.getByRole('button', { name: 'Watch live' }).count()).toBe(0);
    expect(await page.getByText('as soon as it is online again').isVisible()).toBe(true);
    await tell(owner, 'device_online', 2);
    await until('it is offered again', async () => {
      await page.reload();
      return page.getByRole('button', { name: 'Watch live' }).isVisible();
    });
  });

  test('says so when the device is removed', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    await tell(owner, 'device_removed', 1);

    await untilTold('no longer shared');
  });

  test('ends when its time is over', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    world.clock.advance(61);

    await untilTold('after a minute at most');
    expect(await page.getByRole('button', { name: 'Watch live' }).isVisible()).toBe(true);
  });

  test('is told what went wrong when Ring does not open it', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await world.ring.setFaults([{ endpoint: 'whep-post', fault: { kind: 'status', status: 500 }, times: 1 }]);

    await watch();

    await untilTold('Ring could not open the live view. Please try again in a moment.');
    await watch();
    await untilWatching();
  });

  test('ends at Ring when its user leaves the page', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    await page.goto(`${world.url}/ring/home`);

    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
  });

  test('goes on while our server can not tell, and is told when its user is signed out elsewhere', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();
    let asked = 0;
    await page.route('**/live-views/*', (route) => {
      asked += 1;
      return asked % 2 === 0 ? route.abort() : route.fulfill({ status: 503, body: 'not now' });
    });
    await until('it has asked in vain, and again', () => Promise.resolve(asked >= 3));
    await page.unroute('**/live-views/*');
    expect(await status()).toBe('You are watching live.');

    await world.sql('DELETE FROM sessions');

    await untilTold('You are signed out. Reload the page');
  });

  test.each([
    [403, 'You are signed out. Reload the page'],
    [404, 'The live view is closed.'],
  ])('ends when our server answers %i, also without words', async (code, words) => {
    await visit(await sharing(world));
    await watch();
    await untilWatching();

    await page.route('**/live-views/*', (route) => route.fulfill({ status: code, body: '' }));
    try {
      await untilTold(words);
    } finally {
      await page.unroute('**/live-views/*');
    }
  });

  test('hangs up at Ring when the browser can not use its answer', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await page.route('**/live-views', async (route) => {
      await route.fulfill({ response: await route.fetch(), body: 'v=0' });
    });

    await watch();

    await untilTold('The live view could not be opened.');
    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
    await page.unroute('**/live-views');
    await watch();
    await untilWatching();
  });

  test('waits for a connection to come back, and ends, here and at Ring, when it does not', async () => {
    const owner = await sharing(world);
    // The clock is that of all pages of a context, and stays stopped.
    const apart = await newContext(browser);
    const own = await apart.newPage();
    await own.addInitScript(`
      const Native = RTCPeerConnection;
      RTCPeerConnection = function (settings) { return peer = new Native(settings); };
      become = (state) => {
        Object.defineProperty(peer, 'connectionState', { value: state, configurable: true });
        peer.dispatchEvent(new Event('connectionstatechange'));
      };`);
    // Only the test lets time pass.
    await own.clock.install();
    await own.clock.pauseAt(Date.now() + 60_000);
    await visitAs(own, owner.visitor, owner.path);
    await own.getByRole('button', { name: 'Watch live' }).click();
    await own.getByText('You are watching live.').waitFor();

    await own.evaluate(`become('disconnected')`);
    await own.clock.fastForward(3_000);
    await own.evaluate(`become('connected'); become('disconnected')`);
    await own.clock.fastForward(3_000);
    // If the page had given up, it would show the reason by then.
    await own.evaluate('fetch(location.href).then((response) => response.text())');
    expect(await own.getByText('You are watching live.').isVisible()).toBe(true);

    await own.clock.fastForward(3_000);
    await own.getByText('The picture has stopped').waitFor();
    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
    await apart.close();
  });

  test('sends its offer when all addresses are found, with each of them, and asks for sound', async () => {
    const owner = await sharing(world);
    // The clock is that of all pages of a context, and stays stopped.
    const apart = await newContext(browser);
    const own = await apart.newPage();
    await own.addInitScript(`
      found = [];
      const Native = RTCPeerConnection;
      RTCPeerConnection = function (settings) {
        peer = new Native(settings);
        peer.addEventListener('icecandidate', ({ candidate }) => {
          if (candidate?.candidate) found.push(candidate.candidate);
        });
        // As of a browser that is still looking, until it is told otherwise.
        Object.defineProperty(peer, 'iceGatheringState', { value: 'gathering', configurable: true });
        return peer;
      };
      finishGathering = () => {
        delete peer.iceGatheringState;
        peer.dispatchEvent(new Event('icegatheringstatechange'));
      };`);
    // Its patience does not run out.
    await own.clock.install();
    await own.clock.pauseAt(Date.now() + 60_000);
    const offers: string[] = [];
    own.on('request', (request) => {
      if (request.method() === 'POST') offers.push(request.postData() ?? '');
    });
    await visitAs(own, owner.visitor, owner.path);

    await own.getByRole('button', { name: 'Watch live' }).click();
    await until('the browser has found every address', () =>
      own.evaluate<boolean>(
        `typeof peer === 'object' &&
         Object.getPrototypeOf(peer).__lookupGetter__('iceGatheringState').call(peer) === 'complete'`,
      ),
    );
    expect(offers).toEqual([]);

    await own.evaluate('finishGathering()');
    await own.getByText('You are watching live.').waitFor();

    const found = await own.evaluate<string[]>('found');
    expect(offers).toHaveLength(1);
    // The offer leaves out what is only said when candidates travel alone.
    const written = found.map((candidate) => `a=${candidate.split(' generation ')[0] ?? ''} `);
    expect(written.filter((line) => !offers[0]?.includes(line))).toEqual([]);
    expect(offers[0]?.match(/^m=\w+|^a=(?:recvonly|sendrecv)/gm)).toEqual([
      'm=video',
      'a=recvonly',
      'm=audio',
      'a=recvonly',
    ]);
    await apart.close();
  });

  test('does not wait for addresses for ever', async () => {
    const owner = await sharing(world);
    const own = await context.newPage();
    await own.addInitScript(`
      const Native = RTCPeerConnection;
      RTCPeerConnection = function (settings) {
        const peer = new Native(settings);
        Object.defineProperty(peer, 'iceGatheringState', { value: 'gathering' });
        return peer;
      };`);
    await visitAs(own, owner.visitor, owner.path);
    await own.getByRole('button', { name: 'Watch live' }).click();
    await own.getByText('You are watching live.').waitFor();
    await own.close();
  });

  test('says so when the browser finds no address, and asks Ring for nothing', async () => {
    const owner = await sharing(world);
    const own = await context.newPage();
    await own.addInitScript(`
      const Native = RTCPeerConnection;
      RTCPeerConnection = function () { return new Native({ iceTransportPolicy: 'relay' }); };`);
    await visitAs(own, owner.visitor, owner.path);
    await own.getByRole('button', { name: 'Watch live' }).click();
    await own.getByText('Your browser found no network address').waitFor();
    expect(await sessionsOf(owner)).toEqual([]);
    await own.close();
  });

  test('has sound that is off until it is asked for, and off again the next time', async () => {
    await visit(await sharing(world));
    const isMuted = () => page.evaluate<boolean>('document.querySelector("video").muted');
    const kinds = () =>
      page.evaluate<string[]>('document.querySelector("video").srcObject.getTracks().map(({ kind }) => kind).sort()');
    await watch();
    await untilWatching();
    expect([await isMuted(), await kinds()]).toEqual([true, ['audio', 'video']]);

    await page.getByRole('button', { name: 'Turn sound on' }).click();
    expect(await isMuted()).toBe(false);
    await page.getByRole('button', { name: 'Turn sound off' }).click();
    expect(await isMuted()).toBe(true);
    await page.getByRole('button', { name: 'Turn sound on' }).click();
    await page.getByRole('button', { name: 'End live view' }).click();
    expect(await page.getByRole('button', { name: /sound|Full screen/ }).count()).toBe(0);

    await watch();
    await untilWatching();
    expect(await isMuted()).toBe(true);
    expect(await page.getByRole('button', { name: 'Turn sound on' }).isVisible()).toBe(true);
  });

  test('fills the screen by the keyboard alone, with its words and buttons, and leaves it when it ends', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();
    const isFull = () => page.evaluate<boolean>('document.fullscreenElement?.classList.contains("live") === true');

    await page.getByRole('button', { name: 'End live view' }).focus();
    await tabTo(page, page.getByRole('button', { name: 'Full screen' }));
    await page.keyboard.press('Enter');
    await until('the screen is filled', isFull);
    expect(await page.getByRole('button', { name: 'End live view' }).isVisible()).toBe(true);
    await page.keyboard.press('Enter');
    await until('the screen is left', async () => !(await isFull()));
    await page.getByRole('button', { name: 'Full screen' }).press('Enter');
    await until('the screen is filled again', isFull);

    await tell(owner, 'device_offline', 1);

    await untilTold('because the device went offline');
    await until('the screen is left', async () => !(await isFull()));
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe('Watch live');
  });

  test('tells a user who closes it that Ring has named no address to close it at', async () => {
    await visit(await sharing(world));
    await world.ring.setSettings({ whepLocation: 'missing' });
    await watch();
    await untilWatching();
    await page.waitForResponse(/\/live-views\/[^/]+$/);
    await page.getByRole('button', { name: 'End live view' }).click();
    await untilTold('At Ring it ends by itself, within a minute.');
    await world.ring.setSettings({ whepLocation: 'absolute' });
  });

  test('is told when the browser allows no WebRTC', async () => {
    await visit(await sharing(world));
    await page.evaluate('window.RTCPeerConnection = undefined');
    await watch();
    expect(await status()).toContain('Your browser does not allow live video');
  });

  test('met no error on the way', () => {
    expect(complaints).toEqual([]);
  });
});

describe('with a STUN server', () => {
  test('the browser asks it for its address, which is in the offer', async () => {
    const stun = await startStun();
    const home = await startWorld({ environment: { STUN_URLS: `stun:127.0.0.1:${stun.port}` } });
    const own = await context.newPage();
    try {
      const owner = await sharing(home);
      const offers: string[] = [];
      own.on('request', (request) => {
        if (request.method() === 'POST') offers.push(request.postData() ?? '');
      });
      await visitAs(own, owner.visitor, owner.path);
      await own.getByRole('button', { name: 'Watch live' }).click();
      await own.getByText('You are watching live.').waitFor();

      expect(offers[0]).toMatch(new RegExp(`^a=candidate:.* ${stun.mapped} \\d+ typ srflx`, 'm'));
    } finally {
      await own.close();
      await home.stop();
      await stun.stop();
    }
  });

  test('is not asked where none is set', async () => {
    const owner = await sharing(world);
    await owner.visitor.open(owner.path);
    expect(owner.visitor.page.text).not.toContain('data-stun');
  });
});

/** A server that tells whoever asks (RFC 8489) that its address is one of those for documentation. */
async function startStun(): Promise<{ port: number; mapped: string; stop(): Promise<void> }> {
  const COOKIE = Buffer.from('2112a442', 'hex');
  const mapped = [203, 0, 113, 7];
  const socket = createSocket('udp4');
  socket.on('message', (request, { address, port }) => {
    if (request.readUInt16BE(0) !== 0x0001) return;
    // A success with one attribute, XOR-MAPPED-ADDRESS, of IPv4.
    const answer = Buffer.alloc(32);
    answer.writeUInt16BE(0x0101, 0);
    answer.writeUInt16BE(12, 2);
    request.copy(answer, 4, 4, 20);
    answer.writeUInt16BE(0x0020, 20);
    answer.writeUInt16BE(8, 22);
    answer.writeUInt16BE(0x0001, 24);
    answer.writeUInt16BE(port ^ COOKIE.readUInt16BE(0), 26);
    for (const [index, byte] of mapped.entries()) answer.writeUInt8(byte ^ COOKIE.readUInt8(index), 28 + index);
    socket.send(answer, port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    port: socket.address().port,
    mapped: mapped.join('.'),
    async stop() {
      const closed = once(socket, 'close');
      socket.close();
      await closed;
    },
  };
}
