import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { clipOf } from '../../../src/simulator/media/clips.js';
import { pictureOf } from '../../../src/simulator/media/pictures.js';
import { launchBrowser } from '../../support/clients/browser.js';

let browser: Browser;
let page: Page;
beforeAll(async () => {
  browser = await launchBrowser();
  page = await browser.newPage();
});
afterAll(() => browser.close());

test.each(['jpeg', 'png'] as const)('a browser shows a picture as %s', async (format) => {
  const url = `data:image/${format};base64,${pictureOf('frame', format).toString('base64')}`;
  const shown = `(async () => {
    const image = Object.assign(new Image(), { src: '${url}' });
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  })()`;
  expect(await page.evaluate(shown)).toEqual([640, 360]);
});

test('a browser plays a clip', async () => {
  const url = `data:video/mp4;base64,${clipOf(2_500, 0).toString('base64')}`;
  const played = `new Promise((resolve) => {
    const video = Object.assign(document.createElement('video'), { muted: true, playbackRate: 10, src: '${url}' });
    video.onended = () => resolve([video.duration, video.videoWidth, video.videoHeight]);
    video.onerror = () => resolve(video.error.message);
    video.play();
  })`;
  expect(await page.evaluate(played)).toEqual([2.5, 256, 144]);
});
