import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { callRing, control, errorTitle, newTokens, recordedRequests, sendEvent, startRig } from '../rig.js';

interface Page {
  data: { id: string; attributes: { event_type: string; start: number; end: number } }[];
  links?: { next: string };
}

const PATH = '/v1/history/devices/ada-driveway/events';
const CONSENT = 1_790_000_000_000;

let rig: Rig;
let token: string;
beforeEach(async () => {
  rig = await startRig();
  token = (await newTokens(rig)).access_token;
});
afterEach(() => rig.close());

async function read(path = PATH): Promise<Page> {
  const response = await callRing(rig, 'GET', path, token);
  expect(response.status).toBe(200);
  return (await response.json()) as Page;
}

async function types(path?: string): Promise<string[]> {
  return (await read(path)).data.map(({ attributes }) => attributes.event_type);
}

/** Lets something happen at the driveway, a minute after what happened before. */
async function happen(type: string, more: object = {}): Promise<string> {
  rig.clock.now += 60_000;
  const { event } = await sendEvent(rig, type, { device_id: 'ada-driveway', ...more });
  return event.data.id;
}

const settings = (change: object): Promise<void> => control(rig, 'PUT', '/settings', change);

describe('history', () => {
  test('is empty at first, without links', async () => {
    expect(await read()).toEqual({ data: [] });
  });

  test('has motions and presses, newest first, with other IDs than the webhooks', async () => {
    const webhookId = await happen('motion_detected', { sub_type: 'human' });
    await happen('button_press');
    const { data } = await read();
    expect(data).toEqual([
      event('ding', CONSENT + 120_000, CONSENT + 128_000),
      event('motion', CONSENT + 60_000, CONSENT + 68_000),
    ]);
    expect(data.map(({ id }) => id)).not.toContain(webhookId);
    expect(new Set(data.map(({ id }) => id)).size).toBe(2);
  });

  test('has what no webhook told of', async () => {
    await happen('motion_detected', { deliver: 'dropped' });
    const of = { user_id: 'ada', device_id: 'ada-driveway' };
    await control(rig, 'POST', '/recordings', { ...of, kind: 'ding', start: CONSENT + 61_000 });
    await control(rig, 'POST', '/recordings', { ...of, kind: 'snapshot' });
    expect(await types()).toEqual(['ding', 'motion']);
  });

  test('has live views that are over', async () => {
    const path = '/v1/devices/ada-driveway/media/streaming/whep/sessions';
    const headers = { 'Content-Type': 'application/sdp' };
    const start = (): Promise<Response> => callRing(rig, 'POST', path, token, { headers, body: OFFER });
    const location = (await start()).headers.get('location') ?? '';
    rig.clock.now += 12_000;
    expect(await types()).toEqual([]);
    await callRing(rig, 'DELETE', new URL(location).pathname, token);
    expect((await read()).data).toEqual([event('on_demand', CONSENT, CONSENT + 12_000)]);

    await start();
    rig.clock.now += 59_999;
    expect(await types()).toEqual(['on_demand']);
    rig.clock.now += 1;
    expect((await read()).data[0]).toEqual(event('on_demand', CONSENT + 12_000, CONSENT + 72_000));
  });

  test('has nothing of sensors, of other devices, or without effect', async () => {
    await happen('flood_detected');
    await happen('device_offline');
    await happen('motion_detected', { effect: false });
    await happen('motion_detected', { device_id: 'ada-front-door' });
    expect(await types()).toEqual([]);
  });

  test('has nothing from before the consent', async () => {
    await happen('motion_detected');
    await happen('button_press', { timestamp: CONSENT - 1 });
    expect(await types()).toEqual(['motion']);
    rig.clock.now += 1;
    token = (await newTokens(rig)).access_token;
    expect(await types()).toEqual([]);
  });

  test.each([-3_000, 3_000])('may tell another start than the webhook, by %i ms', async (historyStartOffMs) => {
    await settings({ historyStartOffMs });
    await happen('motion_detected');
    expect((await read()).data[0]?.attributes.start).toBe(CONSENT + 60_000 + historyStartOffMs);
  });
});

test.each([
  ['motion', 5],
  ['motion.human', 1],
  ['motion.vehicle', 1],
  ['motion.animal', 1],
  ['motion.other_motion', 1],
  ['ding', 1],
  ['on_demand', 0],
  ['motion.human,ding', 2],
  ['motion,motion.human', 5],
])('the filter %s gives %i of six', async (filter, count) => {
  for (const sub_type of ['motion', 'human', 'vehicle', 'animal', 'other_motion']) {
    await happen('motion_detected', { sub_type });
  }
  await happen('button_press');
  expect(await types(`${PATH}?event_types=${filter}`)).toHaveLength(count);
  expect(await types()).toHaveLength(6);
});

describe('pages', () => {
  beforeEach(async () => {
    await settings({ historyPageSize: 2 });
    for (const type of ['button_press', 'motion_detected', 'button_press', 'motion_detected', 'button_press']) {
      await happen(type);
    }
  });

  /** The types on each page, as long as there is a next one, and at most five pages. */
  async function pages(path: string): Promise<string[][]> {
    const found: string[][] = [];
    for (let next: string | undefined = path; next !== undefined && found.length < 5;) {
      expect(next).toMatch(/^\/v1\/history\//);
      const page: Page = await read(next);
      found.push(page.data.map(({ attributes }) => attributes.event_type));
      next = page.links?.next;
    }
    return found;
  }

  test('are linked relatively, until there are no more', async () => {
    expect((await read()).links?.next).toMatch(/^\/v1\/history\/devices\/ada-driveway\/events\?page\[key\]=[\w-]+$/);
    expect(await pages(PATH)).toEqual([['ding', 'motion'], ['ding', 'motion'], ['ding']]);
  });

  test('keep the filter in the link', async () => {
    const path = `${PATH}?event_types=ding,on_demand`;
    expect((await read(path)).links?.next).toContain('?event_types=ding,on_demand&page[key]=');
    expect(await pages(path)).toEqual([['ding', 'ding'], ['ding']]);
  });

  test('may lose the filter in the link', async () => {
    await settings({ historyNext: 'without-filter' });
    const path = `${PATH}?event_types=ding`;
    expect((await read(path)).links?.next).not.toContain('event_types');
    expect(await pages(path)).toEqual([
      ['ding', 'ding'],
      ['motion', 'ding'],
    ]);
  });

  test('may end in an empty one that still has a link', async () => {
    await settings({ historyEmptyPage: true });
    expect(await pages(PATH)).toEqual([['ding', 'motion'], ['ding', 'motion'], ['ding'], [], []]);
    expect((await pages(`${PATH}?event_types=on_demand`)).slice(0, 2)).toEqual([[], []]);
  });

  test('stay as they are when something happens in between', async () => {
    const { links } = await read();
    await happen('motion_detected');
    expect(await pages(links?.next ?? '')).toEqual([['ding', 'motion'], ['ding']]);
  });
});

test('a request is refused for an unknown type, an invented key, a bad token and a device that is not there', async () => {
  const status = async (path: string, bearer = token): Promise<number> =>
    (await callRing(rig, 'GET', path, bearer)).status;
  expect(await status(`${PATH}?event_types=motion.package`)).toBe(400);
  expect(await status(`${PATH}?page[key]=invented`)).toBe(400);
  expect(await errorTitle(await callRing(rig, 'GET', PATH, 'bad'))).toBe('Invalid Client');
  expect(await status('/v1/history/devices/sam-porch/events')).toBe(404);
  await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
  expect(await status(PATH)).toBe(404);
  expect((await recordedRequests(rig)).at(-1)).toMatchObject({ path: PATH, device_id: 'ada-driveway', status: 404 });
  await control(rig, 'PUT', '/faults', [{ endpoint: 'history', fault: { kind: 'status', status: 500 } }]);
  expect(await status(PATH)).toBe(500);
});

const OFFER = [
  'v=0',
  'o=- 1 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'm=video 9 UDP/TLS/RTP/SAVPF 102',
  'a=mid:0',
  'a=recvonly',
  'a=rtpmap:102 H264/90000',
  'a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host',
  '',
].join('\r\n');

function event(event_type: string, start: number, end: number): object {
  return {
    type: 'history-events',
    id: expect.any(String),
    attributes: { event_type, is_third_party_reviewed: true, start, end },
    relationships: { source: { data: { type: 'devices', id: 'ada-driveway' } }, cv_detections: { data: [] } },
    meta: { riid: null },
  };
}
