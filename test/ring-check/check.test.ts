import type { RequestListener, ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from '@jest/globals';
import { checkRing, type CheckOptions } from '../../src/ring-check/check.js';
import { type Report, reportText } from '../../src/ring-check/report.js';
import { startRecordedRing } from '../../src/simulator/simulator.js';
import { closeStandIns, listen } from '../support/clients/stand-in.js';

afterEach(closeStandIns);

const TOKEN = 'playground-token-5e17';
const DEVICE = 'ava1.ring.device.SECRET77';

/** Values of answers, which nothing may repeat. */
const VALUES = [TOKEN, DEVICE, 'SECRET', 'Ms Hidden', 'hidden@example.com', '5550177', 'Hidden Street', 'hidden-code'];

function check(apiUrl: string, options: Partial<CheckOptions> = {}): Promise<Report> {
  return checkRing({ apiUrl, token: TOKEN, now: Date.now, pause: () => Promise.resolve(), ...options });
}

/** A report without any of the values, as text. */
function textOf(report: Report): string {
  const text = reportText(report);
  for (const value of VALUES) expect(text).not.toContain(value);
  return text;
}

const rowOf = (report: Report, asked: string) => {
  const row = report.rows.find((one) => one.asked === asked);
  if (row === undefined) throw new Error(`no row for ${asked}`);
  return { ...row, why: [...row.why], lost: [...row.lost], unread: [...row.unread] };
};

const LIST = 'GET /v1/devices?include=status,capabilities,location,configurations';
const HISTORY = 'GET /v1/history/devices/{id}/events';

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/vnd.api+json', ...headers }).end(JSON.stringify(body));
}

/** A Ring with one device and answers as documented, but for those that are given by path. */
function oddRing(odd: Record<string, RequestListener> = {}): Promise<string> {
  const attributes: Record<string, object> = {
    status: { online: true },
    capabilities: { video: { max_resolution: 1080 } },
    location: { country: 'US' },
    configurations: { motion_detection: { enabled: 'on' } },
  };
  return listen((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://ring');
    const path = pathname.replace(`/v1/devices/${DEVICE}`, '/device').replace(/^\/v1/, '');
    const part = path.replace('/device/', '');
    const device = { type: 'devices', id: DEVICE, attributes: { name: 'Ms Hidden' } };
    const listener = odd[path];
    if (listener !== undefined) listener(request, response);
    else if (path === '/devices') json(response, 200, { data: [device] });
    else if (path === '/device') json(response, 200, { data: device });
    else if (attributes[part] !== undefined) {
      json(response, 200, { data: { type: `device-${part}`, id: 'part', attributes: attributes[part] } });
    } else if (path === '/users/me') {
      const person = { first_name: 'Ms Hidden', email: 'hidden@example.com', phone_number: '5550177' };
      json(response, 200, { data: { type: 'users', id: 'ava1.ring.account.SECRET', attributes: person } });
    } else if (path.startsWith('/history')) json(response, 200, { data: [] });
    else if (path === '/accounts/me/subscriptions') json(response, 200, { data: [] });
    else if (path.endsWith('/image/download')) {
      const [status, code] =
        request.headers['content-length'] === '0' ? [403, 'REQUEST_FORBIDDEN'] : [416, 'MEDIA_NOT_FOUND'];
      json(response, status, { errors: [{ status: String(status), code, detail: 'Hidden Street' }] });
    } else json(response, 404, { errors: [{ status: '404', title: 'Not Found' }] });
  });
}

/** Answers with the attributes of a part of a device. */
const withAttributes =
  (attributes: unknown): RequestListener =>
  (_request, response) => {
    json(response, 200, { data: { type: 'part', id: 'SECRET', attributes } });
  };

test('the recorded Ring fits; what its sandbox lacks is not offered, and no failure', async () => {
  const ring = await startRecordedRing({ port: 0, token: TOKEN });
  try {
    const report = await check(ring.url);
    expect(report.rows.map(({ result }) => result).filter((result) => result !== 'fits')).toEqual([
      'not offered here',
      'not offered here',
    ]);
    expect(rowOf(report, 'GET /v1/accounts/me/subscriptions').why).toEqual(['422']);
    expect(rowOf(report, 'POST /v1/devices/{id}/media/image/download, of the last minute').why).toEqual([
      '403 TIME_RANGE_NOT_AUTHORIZED',
    ]);
    expect(rowOf(report, 'POST /v1/devices/{id}/media/image/download, of 179 days ago')).toMatchObject({
      result: 'fits',
      why: ['403 TIME_RANGE_NOT_AUTHORIZED'],
    });
    expect(rowOf(report, 'POST /v1/devices/{id}/media/image/download, without a body')).toMatchObject({
      result: 'fits',
      why: ['403 REQUEST_FORBIDDEN'],
    });
    const text = textOf(report);
    expect(text).toContain('Everything that was answered fits: 18 fit, 2 not offered here, 0 do not fit.');
    for (const value of [
      'Playground Device',
      'AAAA1111',
      'GGGG6666',
      'FFFF0001',
      '16:9',
      'bac09fbb',
      '1789513622925',
    ]) {
      expect(text).not.toContain(value);
    }
  } finally {
    await ring.close();
  }
});

describe('what does not fit is told by path and type, and by no value', () => {
  test('a number where a text is expected', async () => {
    const url = await oddRing({ '/device/location': withAttributes({ country: 5550177 }) });
    const report = await check(url);
    expect(rowOf(report, 'GET /v1/devices/{id}/location')).toMatchObject({
      result: 'does not fit',
      lost: ['data.attributes.country (number)'],
    });
    expect(textOf(report)).toContain('Something does not fit: 19 fit, 0 not offered here, 1 do not fit.');
  });

  test('a field that is missing', async () => {
    const url = await oddRing({ '/device/location': withAttributes({ city: 'Hidden Street' }) });
    const report = await check(url);
    expect(rowOf(report, 'GET /v1/devices/{id}/location').lost).toEqual(['data.attributes.country (missing)']);
    textOf(report);
  });

  test('a value that the service would leave out without a word', async () => {
    const url = await oddRing({ '/device/status': withAttributes({ online: 'Hidden Street', battery: 12 }) });
    const report = await check(url);
    expect(rowOf(report, 'GET /v1/devices/{id}/status')).toMatchObject({
      result: 'does not fit',
      lost: ['data.attributes.online (string)'],
    });
    expect(rowOf(report, 'GET /v1/devices/{id}/status').unread).toContain('data.attributes.battery (number)');
    textOf(report);
  });

  test.each<[string, RequestListener, string]>([
    [
      'a page in HTML',
      (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>Hidden Street'),
      'no JSON',
    ],
    [
      'an error of Ring’s',
      (_, response) => {
        json(response, 500, { errors: [{ title: 'Ms Hidden' }] });
      },
      '500',
    ],
    [
      'an error that is a page',
      (_, response) => response.writeHead(404).end('Hidden Street'),
      '404, not in the form of an error',
    ],
    [
      'a redirect',
      (_, response) => response.writeHead(302, { location: 'https://hidden@example.com/' }).end(),
      '302, a redirect',
    ],
    [
      'a refused token',
      (_, response) => {
        json(response, 401, { errors: [{ title: 'Invalid Client' }] });
      },
      '401 Invalid Client',
    ],
    ['an answer that breaks off', (request) => request.socket.destroy(), 'no answer'],
  ])('%s', async (_what, listener, why) => {
    const report = await check(await oddRing({ '/device/status': listener }));
    expect(rowOf(report, 'GET /v1/devices/{id}/status')).toMatchObject({ result: 'does not fit', why: [why] });
    expect(report.rows.filter(({ result }) => result === 'does not fit')).toHaveLength(1);
    textOf(report);
  });

  test('no answer in time', async () => {
    const report = await check(await oddRing({ '/device/status': () => undefined }), { timeoutMs: 2_000 });
    expect(rowOf(report, 'GET /v1/devices/{id}/status')).toMatchObject({ result: 'does not fit', why: ['no answer'] });
  });

  test('a code of media that is not known', async () => {
    const url = await oddRing({
      '/device/media/image/download': (_request, response) => {
        json(response, 403, { errors: [{ status: '403', code: 'hidden-code' }] });
      },
    });
    const report = await check(url);
    expect(rowOf(report, 'POST /v1/devices/{id}/media/image/download, of the last minute')).toMatchObject({
      result: 'does not fit',
      why: ['403'],
    });
    textOf(report);
  });
});

test('a picture is followed to where Ring keeps it, without the token', async () => {
  const tokens: (string | undefined)[] = [];
  const storage = await listen((request, response) => {
    tokens.push(request.headers.authorization);
    const jpeg = Buffer.from([0xff, 0xd8, 0xff, 0xe0]);
    response.writeHead(200, { 'content-type': 'image/jpeg', 'x-media-timestamp': '1789513622925' }).end(jpeg);
  });
  const url = await oddRing({
    '/device/media/image/download': (_request, response) => response.writeHead(303, { location: storage }).end(),
  });
  const report = await check(url);
  expect(rowOf(report, 'POST /v1/devices/{id}/media/image/download, of 179 days ago')).toMatchObject({
    result: 'fits',
    why: ['a picture'],
  });
  expect(tokens).toEqual([undefined, undefined, undefined]);
});

describe('history', () => {
  const entry = {
    type: 'history-events',
    id: 'SECRET',
    attributes: { event_type: 'motion', start: 1789513622925 },
    relationships: { source: { data: { type: 'devices', id: DEVICE } } },
  };

  test('is followed for three pages, with the filter that the link has dropped', async () => {
    const asked: string[] = [];
    const path = `/history/devices/${DEVICE}/events`;
    const url = await oddRing({
      [path]: (request, response) => {
        asked.push(decodeURIComponent(request.url ?? '').replace(`/v1${path}`, ''));
        json(response, 200, { data: [entry], links: { next: `/v1${path}?page[key]=n` } });
      },
    });
    const report = await check(url);
    expect(rowOf(report, `${HISTORY}?event_types=motion.human`)).toMatchObject({ result: 'fits', answers: 3 });
    expect(asked.filter((query) => query.includes('motion.human'))).toEqual([
      '?event_types=motion.human',
      '?page[key]=n&event_types=motion.human',
      '?page[key]=n&event_types=motion.human',
    ]);
    expect(asked).toHaveLength(27);
  });

  test('that leads elsewhere is not followed', async () => {
    const elsewhere = await listen(() => {
      throw new Error('asked');
    });
    const url = await oddRing({
      [`/history/devices/${DEVICE}/events`]: (_request, response) => {
        json(response, 200, { data: [entry], links: { next: `${elsewhere}/hidden-code` } });
      },
    });
    const report = await check(url);
    expect(rowOf(report, HISTORY)).toMatchObject({ result: 'does not fit', why: ['links.next leads to another host'] });
    textOf(report);
  });
});

describe('asked too much', () => {
  const tooMany: RequestListener = (_request, response) => {
    json(response, 429, { errors: [{ title: 'Too Many Requests' }] }, { 'retry-after': '7' });
  };

  test('it waits as long as Ring says, and asks again', async () => {
    let asked = 0;
    const pauses: number[] = [];
    const url = await oddRing({
      '/device/status': (request, response) => {
        asked++;
        if (asked === 1) tooMany(request, response);
        else withAttributes({ online: true })(request, response);
      },
    });
    const report = await check(url, { pause: (ms) => Promise.resolve(void pauses.push(ms)) });
    expect(rowOf(report, 'GET /v1/devices/{id}/status')).toMatchObject({ result: 'fits', why: [], answers: 1 });
    expect(pauses).toEqual([7_000]);
  });

  test('it gives up after four times', async () => {
    const pauses: number[] = [];
    const url = await oddRing({ '/device/status': tooMany });
    const report = await check(url, { pause: (ms) => Promise.resolve(void pauses.push(ms)) });
    expect(rowOf(report, 'GET /v1/devices/{id}/status')).toMatchObject({ result: 'does not fit', why: ['429'] });
    expect(pauses).toEqual([7_000, 7_000, 7_000]);
  });
});

test('the clocks are compared by the Date header and by meta.time', async () => {
  const url = await oddRing({
    '/devices': (_request, response) => {
      const headers = { date: 'Tue, 15 Sep 2026 12:47:12 GMT' };
      json(response, 200, { data: [], meta: { time: '2026-09-15T12:47:02Z' } }, headers);
    },
  });
  const report = await check(url, { now: () => Date.parse('2026-09-15T12:47:08.500Z') });
  expect(report.clock).toEqual({ dateHeader: 4, metaTime: -6 });
  expect(textOf(report)).toContain('4 s ahead of ours');
  expect(textOf(report)).toContain('6 s behind ours');
});

test('without a device its questions are not asked, and that is told', async () => {
  const url = await oddRing({
    '/devices': (_request, response) => {
      json(response, 200, { data: [] });
    },
  });
  const report = await check(url);
  expect(rowOf(report, LIST).result).toBe('fits');
  expect(rowOf(report, HISTORY).result).toBe('not asked');
  expect(textOf(report)).toContain('17 could not be asked');
});

test('a sensor is not asked for pictures', async () => {
  const capabilities = { type: 'device-capabilities', id: 'part' };
  const url = await oddRing({
    '/devices': (_request, response) => {
      const device = { type: 'devices', id: DEVICE, attributes: { name: 'Ms Hidden' } };
      json(response, 200, {
        data: [{ ...device, relationships: { capabilities: { data: capabilities } } }],
        included: [{ ...capabilities, attributes: { video: null, contact_detection: {} } }],
      });
    },
    '/device/media/image/download': () => {
      throw new Error('asked');
    },
  });
  const report = await check(url);
  expect(rowOf(report, HISTORY).result).toBe('fits');
  expect(textOf(report)).toContain(
    'Everything that was answered fits: 17 fit, 0 not offered here, 0 do not fit, 3 could not',
  );
});

test('a token that Ring does not take ends it with the first answer', async () => {
  const url = await oddRing({
    '/devices': (_request, response) => {
      json(response, 401, { errors: [{ title: 'Invalid Client' }] });
    },
    '/users/me': () => {
      throw new Error('asked');
    },
  });
  expect((await check(url)).isTokenRefused).toBe(true);
});
