import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser } from '../../support/clients/browser.js';
import { scaled } from '../../support/waiting/limits.js';
import { until } from '../../support/waiting/until.js';
import type { Rig } from '../rig.js';
import { callRing, control, errorTitle, newTokens, sendEvent, startRig } from '../rig.js';

const SESSIONS = '/v1/devices/ada-driveway/media/streaming/whep/sessions';
const MOST_STREAMS = 32;

/** A pause that is longer than from one frame to the next, on a busy machine too. */
const STILL_MS = 700;

/**
 * Runs in the page, which has no way to Ring of its own. `view` makes an offer, takes the answer, and counts the frames
 * that it shows and the different pictures among them.
 */
const newView = (tracks: string[]): string => `
  window.view = { frames: 0, pictures: new Set(), connection: new RTCPeerConnection() };
  for (const kind of ${JSON.stringify(tracks)}) view.connection.addTransceiver(kind, { direction: 'recvonly' });
  view.video = Object.assign(document.createElement('video'), { muted: true, autoplay: true });
  document.body.append(view.video); // Else, its frames are counted but never painted.
  view.connection.ontrack = ({ track }) => {
    if (track.kind === 'video') view.video.srcObject = new MediaStream([track]);
  };
  view.onFrame = () => {
    const { videoWidth, videoHeight } = view.video;
    const canvas = new OffscreenCanvas(videoWidth, videoHeight).getContext('2d');
    canvas.drawImage(view.video, 0, 0);
    view.pictures.add(canvas.getImageData(0, 0, videoWidth, videoHeight).data.join());
    view.frames += 1;
    view.video.requestVideoFrameCallback(view.onFrame);
  };
  view.video.requestVideoFrameCallback(view.onFrame);
  view.isGathered = new Promise((resolve) => {
    view.connection.onicegatheringstatechange = () => {
      if (view.connection.iceGatheringState === 'complete') resolve();
    };
  });
  view.connection.setLocalDescription().then(() => view.isGathered).then(() => view.connection.localDescription.sdp)`;

const accept = (answer: string): string =>
  `view.connection.setRemoteDescription({ type: 'answer', sdp: ${JSON.stringify(answer)} })`;

const SEEN = `(async () => {
  const stats = [...(await view.connection.getStats()).values()];
  const { keyFramesDecoded } = stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video') ?? {};
  const { frames, pictures, video } = view;
  return { frames, pictures: pictures.size, keyFrames: keyFramesDecoded ?? 0, size: [video.videoWidth, video.videoHeight] };
})()`;

interface Seen {
  frames: number;
  pictures: number;
  keyFrames: number;
  size: [number, number];
}

let browser: Browser;
let page: Page;
let rig: Rig;
let token: string;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  rig = await startRig();
  token = (await newTokens(rig)).access_token;
  page = await browser.newPage();
});
afterEach(async () => {
  await page.close();
  await rig.close();
  await untilNoSocketIsOpen();
});

/**
 * The sockets for media. Node releases a socket a moment after it is closed; werift would do so after half a minute.
 */
const untilNoSocketIsOpen = (): Promise<boolean> =>
  until(
    'no socket is open',
    () => Promise.resolve(!process.getActiveResourcesInfo().includes('UDPWrap')),
    scaled(2_000),
  );

const post = (body: string): Promise<Response> =>
  callRing(rig, 'POST', SESSIONS, token, { body, headers: { 'Content-Type': 'application/sdp' } });

const offer = (...tracks: string[]): Promise<string> => page.evaluate<string>(newView(tracks));

/** Returns the location of a live view that the page is watching. */
async function watch(...tracks: string[]): Promise<string> {
  const response = await post(await offer(...tracks));
  expect(response.status).toBe(201);
  await page.evaluate(accept(await response.text()));
  return locationOf(response);
}

/** The path of a live view. */
const locationOf = (response: Response | undefined): string =>
  new URL(response?.headers.get('location') ?? '', rig.url).pathname;

async function end(location: string | Promise<string>): Promise<void> {
  expect((await callRing(rig, 'DELETE', await location, token)).status).toBe(200);
}

const seen = (): Promise<Seen> => page.evaluate<Seen>(SEEN);

const untilSeen = (what: string, isSo: (seen: Seen) => boolean): Promise<Seen> =>
  until(what, async () => {
    const now = await seen();
    return isSo(now) && now;
  });

const untilStill = (): Promise<boolean> =>
  until('no more frames come', async () => {
    const { frames } = await seen();
    await page.waitForTimeout(STILL_MS);
    return (await seen()).frames === frames;
  });

describe('the live view of a browser', () => {
  test('shows a moving picture, over and over, until it is closed', async () => {
    const location = await watch('video', 'audio');

    const { frames, pictures, size } = await untilSeen('the picture begins anew', ({ keyFrames }) => keyFrames > 1);
    expect(size).toEqual([320, 180]);
    expect(frames).toBeGreaterThan(20);
    expect(pictures).toBeGreaterThan(20);

    await end(location);
    await untilStill();
  });

  test('has its picture with audio first, or without', async () => {
    await watch('audio', 'video');
    await untilSeen('a frame comes', ({ frames }) => frames > 0);
    await watch('video');
    await untilSeen('a frame comes', ({ frames }) => frames > 0);
  });

  test.each<[string, () => unknown]>([
    ['its time is up', () => (rig.clock.now += 60_000)],
    ['the device goes offline', () => sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' })],
    ['the device is removed', () => sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' })],
    ['the simulator is reset', () => control(rig, 'DELETE', '')],
  ])('stands still when %s', async (_what, happen) => {
    await watch('video');
    await untilSeen('a frame comes', ({ frames }) => frames > 0);
    await happen();
    await untilStill();
  });
});

describe('an offer', () => {
  test('is answered with addresses of this machine alone, to which the browser may connect', async () => {
    const answer = (await (await post(await offer('video'))).text()).split('\r\n');
    const candidates = answer.filter((line) => line.startsWith('a=candidate:'));
    expect(candidates).toContainEqual(expect.stringMatching(/ 127\.0\.0\.1 \d+ typ host/));
    expect(candidates.filter((line) => !line.includes(' typ host '))).toEqual([]);
    expect(answer).toEqual(expect.arrayContaining(['a=ice-lite', 'a=setup:passive', 'a=sendonly']));
  });

  test.each([
    ['without a way to connect', /^a=(?:ice-ufrag|ice-pwd|fingerprint):.*\r\n/gm],
    ['without VP8', /^a=rtpmap:\d+ VP8\/.*\r\n/gm],
  ])('%s is answered in writing alone', async (_what, missing) => {
    const response = await post((await offer('video', 'audio')).replace(missing, ''));
    expect(response.status).toBe(201);
    expect(await response.text()).toMatch(/^v=0\r\n[\s\S]*\r\na=sendonly\r\n/);
    expect(process.getActiveResourcesInfo()).not.toContain('UDPWrap');
  });

  test('that can’t be read is refused, and nothing stays open', async () => {
    const response = await post((await offer('video')).replace(/^a=mid:.*\r\n/gm, ''));
    expect(response.status).toBe(400);
    expect(await control(rig, 'GET', '/live-views')).toEqual([]);
    await untilNoSocketIsOpen();
  });

  test('is refused when too many live views are played, until one of them is over', async () => {
    const sdp = await offer('video');
    const responses = await Promise.all(Array.from({ length: MOST_STREAMS }, () => post(sdp)));
    expect(responses.map(({ status }) => status)).toEqual(responses.map(() => 201));
    const refusal = await post(sdp);
    expect([refusal.status, await errorTitle(refusal)]).toEqual([429, 'Too Many Requests']);

    await end(locationOf(responses[0]));
    await until('there is room again', async () => (await post(sdp)).status === 201);
  });
});

describe('a connection is closed', () => {
  test.each<[string, () => unknown]>([
    ['a live view is closed while the browser connects', () => end(watch('video'))],
    ['no viewer ever connects', async () => end(post(await offer('video')).then(locationOf))],
    [
      'the simulator is closed, with one viewer who watches and one who is about to',
      async () => {
        await watch('video');
        await untilSeen('a frame comes', ({ frames }) => frames > 0);
        const late = post(await offer('video')).catch(() => undefined);
        await until('Ring has the offer', async () => (await control<unknown[]>(rig, 'GET', '/live-views')).length > 1);
        await rig.close();
        await late;
      },
    ],
  ])('when %s', async (_what, happen) => {
    await happen();
    await untilNoSocketIsOpen();
  });
});
