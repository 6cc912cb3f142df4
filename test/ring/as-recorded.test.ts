import { afterEach, describe, expect, test } from '@jest/globals';
import {
  ACCESS_TOKEN,
  clientOf,
  closeStandIns,
  failureOf,
  listen,
  listenAndAnswer,
} from '../support/clients/stand-in.js';
import { recordedAnswer } from '../support/worlds/recorded.js';

afterEach(closeStandIns);

const DEVICE = 'ava1.ring.device.AAAA1111';

describe('the recorded answer with devices', () => {
  test('is read to the last field that is used', async () => {
    const ring = await listenAndAnswer(200, recordedAnswer('devices'));

    expect(await clientOf(ring.url).getDevices(ACCESS_TOKEN)).toEqual([
      {
        id: DEVICE,
        name: 'Playground Device',
        status: { online: true, reportedAt: new Date('2026-09-15T12:45:03Z'), sensors: {} },
        capabilities: {
          video: {
            codecs: ['AVC'],
            ratio: '16:9',
            max_resolution: '1080p',
            supported_resolutions: ['1080p'],
            configurations: ['resolution_mode'],
          },
          motion_detection: { configurations: ['enabled', 'motion_zones'] },
          image_enhancements: { configurations: ['color_night_vision', 'privacy_zones', 'snapshot'] },
        },
        configurations: {
          motion_detection: {
            enabled: 'on',
            motion_zones: [
              {
                id: 'bac09fbb-7a79-4eca-80d8-4e05a4ea8d07',
                vertices: [
                  { x: 0, y: 0 },
                  { x: 0.5, y: 0 },
                  { x: 1, y: 0 },
                  { x: 1, y: 0.6 },
                  { x: 1, y: 1 },
                  { x: 0.5, y: 1 },
                  { x: 0, y: 1 },
                  { x: 0, y: 0.6 },
                ],
              },
            ],
          },
          image_enhancements: {
            color_night_vision: 'off',
            hdr: 'off',
            ir_led_night_vision: 'off',
            auto_zoom_track: 'off',
            privacy_zones: [],
          },
        },
        location: { country: 'US', state: 'CA' },
      },
    ]);
    expect(ring.received).toMatchObject([
      { method: 'GET', path: '/v1/devices?include=status,capabilities,location,configurations' },
    ]);
  });

  test('may be one page of several: each is read, until one is empty or leads no further', async () => {
    const page = JSON.parse(recordedAnswer('devices')) as { data: [{ id: string }] };
    const paths: (string | undefined)[] = [];
    const url = await listen(({ url: path }, response) => {
      paths.push(path);
      const key = new URL(path ?? '', 'http://ring').searchParams.get('page[key]') ?? '1';
      const data = key === '3' ? [] : [{ ...page.data[0], id: `device-${key}` }];
      const next = `/v1/devices?page[key]=${Number(key) + 1}`;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ ...page, data, links: { next } }));
    });

    const devices = await clientOf(url).getDevices(ACCESS_TOKEN);

    expect(devices.map(({ id }) => id)).toEqual(['device-1', 'device-2']);
    expect(devices[1]?.capabilities?.video?.max_resolution).toBe('1080p');
    expect(paths).toHaveLength(3);
  });
});

test('a resolution is read as a number or as a text, and an odd one costs no other', async () => {
  const answer = recordedAnswer('devices').replace('[1080]', '[2160, "1920x1080", null, {}, 1080]');
  const ring = await listenAndAnswer(200, answer);
  const [device] = await clientOf(ring.url).getDevices(ACCESS_TOKEN);
  expect(device?.capabilities?.video?.supported_resolutions).toEqual(['2160p', '1920x1080', '1080p']);
});

test('the state of sensors is read, each for itself', async () => {
  const attributes = {
    online: null,
    reported_at: '2026-09-15T12:45:03.5Z',
    contact_detection: { faulted: true },
    flood_detection: { faulted: false },
    freeze_detection: null,
    tamper_detection: { faulted: 'perhaps' },
  };
  const ring = await listenAndAnswer(200, JSON.stringify({ data: { type: 'device-status', id: 's', attributes } }));
  expect(await clientOf(ring.url).getDeviceStatus(ACCESS_TOKEN, DEVICE)).toEqual({
    online: undefined,
    reportedAt: new Date('2026-09-15T12:45:03.500Z'),
    sensors: { contact: true, flood: false },
  });
  expect(ring.received).toMatchObject([{ method: 'GET', path: `/v1/devices/${DEVICE}/status` }]);
});

describe('history', () => {
  test('as it was recorded is read, and is the last page', async () => {
    const ring = await listenAndAnswer(200, recordedAnswer('history-on-demand'));
    expect(await clientOf(ring.url).getHistory(ACCESS_TOKEN, DEVICE)).toEqual({
      events: [
        {
          id: 'ava1.ring.history.event.FFFF0001',
          kind: 'on_demand',
          deviceId: DEVICE,
          startedAt: new Date(1789513622925),
          endedAt: new Date(1789513653550),
        },
        {
          id: 'ava1.ring.history.event.FFFF0002',
          kind: 'on_demand',
          deviceId: DEVICE,
          startedAt: new Date(1789513578468),
          endedAt: new Date(1789513602247),
        },
      ],
      next: null,
    });
    expect(ring.received).toMatchObject([{ path: `/v1/history/devices/${DEVICE}/events?event_types=motion,ding` }]);
  });

  test('goes on where Ring says, with the filter that the link has dropped', async () => {
    const next = `/v1/history/devices/${DEVICE}/events?page[key]=abc%3D%3D`;
    const ring = await listenAndAnswer(
      200,
      JSON.stringify({ ...(JSON.parse(recordedAnswer('history-on-demand')) as object), links: { next } }),
    );
    const client = clientOf(ring.url);
    const first = await client.getHistory(ACCESS_TOKEN, DEVICE);
    await client.getHistory(ACCESS_TOKEN, DEVICE, first.next ?? '');

    const { searchParams } = new URL(ring.received[1]?.path ?? '', ring.url);
    expect(Object.fromEntries(searchParams)).toEqual({
      'page[key]': 'abc==',
      event_types: 'motion,ding',
    });
  });

  test('ends with an empty page, also when that leads on', async () => {
    const ring = await listenAndAnswer(200, JSON.stringify({ data: [], links: { next: '/v1/history?page[key]=z' } }));
    expect(await clientOf(ring.url).getHistory(ACCESS_TOKEN, DEVICE)).toEqual({ events: [], next: null });
  });

  test('does not lead the token to another host', async () => {
    const ring = await listenAndAnswer(
      200,
      JSON.stringify({ data: [{}], links: { next: 'https://elsewhere.example.com/v1/history' } }),
    );
    expect((await failureOf(clientOf(ring.url).getHistory(ACCESS_TOKEN, DEVICE))).kind).toBe('malformed');
  });
});
