import type { RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { CallReport } from '../../src/ring/transport.js';
import {
  ACCESS_TOKEN,
  CLIENT_SECRET as SECRET,
  clientOf,
  closeStandIns,
  failureOf,
  listen,
  listenAndAnswer,
  type Received,
} from '../support/clients/stand-in.js';
import { until } from '../support/waiting/until.js';
import { freePort } from '../support/worlds/world.js';

const CODE = 'code-8c5e&=+%/ é'.replace('é', '~');
const PAIR = {
  access_token: ACCESS_TOKEN,
  refresh_token: 'rt-12ab',
  scope: 'a b',
  expires_in: 14_400,
  token_type: 'Bearer',
};

/** The first bytes of a PNG file, which say that it is one. */
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const SINCE_YESTERDAY = { type: 'latest_in_range', start: new Date(1_789_000_000_000) } as const;

afterEach(closeStandIns);

describe('a request to Ring', () => {
  test('a code is exchanged by a form with the client credentials in it, and by no Authorization header', async () => {
    const ring = await listenAndAnswer(200, JSON.stringify(PAIR));
    expect(await clientOf(ring.url).exchangeCode(CODE)).toEqual({
      accessToken: ACCESS_TOKEN,
      refreshToken: 'rt-12ab',
      scope: 'a b',
      expiresIn: 14_400,
    });
    expect(ring.received).toHaveLength(1);
    const [{ method, path, headers, body } = {} as Received] = ring.received;
    expect({ method, path }).toEqual({ method: 'POST', path: '/oauth/token' });
    expect(headers['content-type']).toMatch(/^application\/x-www-form-urlencoded\b/);
    expect(headers.authorization).toBeUndefined();
    expect([...new URLSearchParams(body)].sort()).toEqual([
      ['client_id', 'client-1'],
      ['client_secret', SECRET],
      ['code', CODE],
      ['grant_type', 'authorization_code'],
    ]);
  });

  test('the account is asked for with the access token', async () => {
    const ring = await listenAndAnswer(200, JSON.stringify({ data: { type: 'users', id: 'ava1.ring.account.A' } }));
    expect(await clientOf(ring.url).getAccountId(ACCESS_TOKEN)).toBe('ava1.ring.account.A');
    expect(ring.received).toMatchObject([
      { method: 'GET', path: '/v1/users/me', headers: { authorization: `Bearer ${ACCESS_TOKEN}` }, body: '' },
    ]);
  });

  test('calls one after the other share connections, also after an answer that is not wanted', async () => {
    const connections = new Set<unknown>();
    let calls = 0;
    const url = await listen(({ socket }, response) => {
      connections.add(socket);
      calls++;
      response.writeHead(calls % 2 === 0 ? 500 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ data: { type: 'users', id: 'ava1.ring.account.A' } }));
    });
    const client = clientOf(url);

    for (let call = 0; call < 20; call++) await client.getAccountId(ACCESS_TOKEN).catch(() => undefined);

    expect(calls).toBe(20);
    // The next call may begin before the connection of the last one is free again.
    expect(connections.size).toBeLessThan(5);
  });

  test.each([
    ['flat', (status: string) => ({ status })],
    ['JSON:API', (status: string) => ({ data: { attributes: { status } } })],
  ])('a link is announced with its nonce and completed without one; the answer may be %s', async (_shape, bodyOf) => {
    const link = { accountIdentifier: 'u***r@example.com', nonce: 'N'.repeat(43) };
    const awaiting = await listenAndAnswer(200, JSON.stringify(bodyOf('awaiting')));
    const completed = await listenAndAnswer(201, JSON.stringify(bodyOf('completed')));
    await clientOf(awaiting.url).announceLink(ACCESS_TOKEN, link);
    await clientOf(completed.url).completeLink(ACCESS_TOKEN, { accountIdentifier: link.accountIdentifier });

    const received = [...awaiting.received, ...completed.received];
    expect(received.map(({ body }) => JSON.parse(body) as unknown)).toEqual([
      { account_identifier: 'u***r@example.com', nonce: link.nonce },
      { account_identifier: 'u***r@example.com', status: 'completed' },
    ]);
    expect(received).toMatchObject(
      ['POST', 'PATCH'].map((method) => ({
        method,
        path: '/v1/accounts/me/app-integrations',
        headers: { authorization: `Bearer ${ACCESS_TOKEN}`, 'content-type': 'application/json' },
      })),
    );
  });

  test('a link without an address that we know as good is told without one', async () => {
    const ring = await listenAndAnswer(204, '');
    await clientOf(ring.url).announceLink(ACCESS_TOKEN, { accountIdentifier: null, nonce: 'N'.repeat(43) });
    await clientOf(ring.url).completeLink(ACCESS_TOKEN, { accountIdentifier: null });
    expect(ring.received.map(({ body }) => JSON.parse(body) as unknown)).toEqual([
      { nonce: 'N'.repeat(43) },
      { status: 'completed' },
    ]);
  });

  test.each([
    ['its status', 200, JSON.stringify({ status: 'completed' })],
    ['nothing', 204, ''],
  ])('a new account identifier is told by itself; the answer may be %s', async (_what, status, body) => {
    const ring = await listenAndAnswer(status, body);
    await clientOf(ring.url).changeIdentifier(ACCESS_TOKEN, { accountIdentifier: 'n***w@example.com' });
    expect(ring.received).toMatchObject([
      {
        method: 'PATCH',
        path: '/v1/accounts/me/app-integrations',
        headers: { authorization: `Bearer ${ACCESS_TOKEN}`, 'content-type': 'application/json' },
        body: '{"account_identifier":"n***w@example.com"}',
      },
    ]);
  });

  test('a redirect is not followed: neither credentials nor bearer token travel to where it points', async () => {
    const elsewhere = await listenAndAnswer(200, JSON.stringify({ ...PAIR, data: { type: 'users', id: 'A' } }));
    for (const status of [301, 302, 303, 307, 308]) {
      const ring = await listenAndAnswer(status, '', { location: `${elsewhere.url}/caught` });
      expect((await failureOf(clientOf(ring.url).exchangeCode(CODE))).kind).toBe('malformed');
      expect((await failureOf(clientOf(ring.url).getAccountId(ACCESS_TOKEN))).kind).toBe('malformed');
      expect(ring.received).toHaveLength(2);
    }
    expect(elsewhere.received).toEqual([]);
  });
});

describe('a link in an answer of Ring’s', () => {
  test('to a live view that reads as another host is taken for a path at Ring’s', async () => {
    const elsewhere = await listenAndAnswer(204, '');
    const path = `//${new URL(elsewhere.url).host}/sessions/x`;
    const deleted: (string | undefined)[] = [];
    const ring = await listen(({ method, url, headers }, response) => {
      if (method === 'POST') {
        response.writeHead(201, { location: `http://${headers.host ?? ''}${path}`, 'content-type': 'application/sdp' });
        response.end('v=0\r\n');
      } else {
        deleted.push(url);
        response.writeHead(204).end();
      }
    });
    const client = clientOf(ring);

    const { sessionPath } = await client.openLiveView(ACCESS_TOKEN, 'device-1', 'v=0\r\n');
    await client.closeLiveView(ACCESS_TOKEN, sessionPath ?? '');

    expect(deleted).toEqual([path]);
    expect(elsewhere.received).toEqual([]);
  });

  test.each([
    ['https://elsewhere.example.com/whep/sessions/s-1', '/v1/devices/device-1/media/streaming/whep/sessions/s-1'],
    ['/sessions/s-2/', '/sessions/s-2'],
    ['s-3', '/v1/devices/device-1/media/streaming/whep/sessions/s-3'],
    ['s-4?token=x', '/v1/devices/device-1/media/streaming/whep/sessions/s-4?token=x'],
    ['http://[', null],
    ['/', null],
    [undefined, null],
  ])('to a live view may be odd, and the live view is shown all the same: %s', async (location, path) => {
    const ring = await listenAndAnswer(201, 'v=0\r\n', { ...(location !== undefined && { location }) });
    const opened = await clientOf(ring.url).openLiveView(ACCESS_TOKEN, 'device-1', 'v=0\r\n');

    expect(opened).toEqual({ answer: 'v=0\r\n', sessionPath: path });
  });

  /** Ring over TLS, with a redirect by way of these locations to a picture. Records what was fetched from elsewhere. */
  function redirectingTo(...locations: string[]) {
    const fetched: { url: string; headers: Headers }[] = [];
    const client = clientOf('https://ring.example.com', {
      fetch(input, init) {
        const { url, headers } = new Request(input, init);
        if (!url.startsWith('https://ring.example.com/')) fetched.push({ url, headers });
        const location = locations[fetched.length];
        if (location !== undefined) {
          return Promise.resolve(new Response(null, { status: 302, headers: { location } }));
        }
        return Promise.resolve(new Response(PNG, { headers: { 'x-media-timestamp': '1789513622925' } }));
      },
    });
    return { client, fetched };
  }

  test('to a page of a history that was kept leads nowhere once Ring has another address', async () => {
    const former = await listenAndAnswer(200, JSON.stringify({ data: [] }));
    const { url } = await listenAndAnswer(200, JSON.stringify({ data: [] }));
    const kept = `${former.url}/v1/history/devices/device-1/events?page[key]=2`;
    const error = await failureOf(clientOf(url).getHistory(ACCESS_TOKEN, 'device-1', kept));
    expect(error.kind).toBe('malformed');
    expect(former.received).toEqual([]);
  });

  test('to a picture on a host with a name is followed, without the token', async () => {
    const { client, fetched } = redirectingTo('https://bucket.s3.example.com/picture.png?signature=1');

    expect(await client.downloadPicture(ACCESS_TOKEN, 'device-1', SINCE_YESTERDAY)).toMatchObject({
      kind: 'picture',
      contentType: 'image/png',
    });

    expect(fetched).toMatchObject([{ url: 'https://bucket.s3.example.com/picture.png?signature=1' }]);
    expect(fetched[0]?.headers.get('authorization')).toBeNull();
  });

  test.each([
    'https://169.254.169.254/latest/meta-data',
    'https://10.0.0.5/x',
    'https://127.1/x',
    'https://0x7f000001/x',
    'https://2130706433/x',
    'https://127.0.0.1./x',
    'https://[::1]/x',
    'https://[::ffff:127.0.0.1]:8443/x',
    'https://localhost:5432/x',
    'https://localhost./x',
    'https://internal/x',
    'https://user:password@bucket.s3.example.com/x',
    'http://bucket.s3.example.com/x',
    'ftp://bucket.s3.example.com/x',
  ])('to a picture at %s is not followed, also not from storage', async (location) => {
    const direct = redirectingTo(location);
    const failed = await failureOf(direct.client.downloadPicture(ACCESS_TOKEN, 'device-1', SINCE_YESTERDAY));
    expect(failed.kind).toBe('malformed');
    expect(direct.fetched).toEqual([]);

    const storage = 'https://bucket.s3.example.com/picture.png';
    const indirect = redirectingTo(storage, location);
    const failedLater = await failureOf(indirect.client.downloadPicture(ACCESS_TOKEN, 'device-1', SINCE_YESTERDAY));
    expect(failedLater.kind).toBe('malformed');
    expect(indirect.fetched.map(({ url }) => url)).toEqual([storage]);
  });
});

describe('an answer of Ring’s', () => {
  const rfc6749 = (error: string) => JSON.stringify({ error, error_description: `not with ${CODE} and ${SECRET}` });
  const jsonApi = (status: number, title: string) =>
    JSON.stringify({ errors: [{ status: `${status}`, title, detail: `not with ${CODE} and ${SECRET}` }] });

  const media = (code: string) =>
    JSON.stringify({ errors: [{ id: 'r-1', status: '4', code, detail: `not with ${CODE}`, meta: { timestamp: 1 } }] });

  test.each([
    { status: 400, body: rfc6749('invalid_grant'), kind: 'rejected', code: 'invalid_grant' },
    { status: 400, body: jsonApi(400, 'Invalid Nonce'), kind: 'rejected', code: 'Invalid Nonce' },
    { status: 404, body: jsonApi(404, 'Not Found'), kind: 'rejected', code: 'unknown code of 9 characters' },
    { status: 404, body: media('DEVICE_NOT_FOUND'), kind: 'rejected', code: 'DEVICE_NOT_FOUND' },
    { status: 403, body: media('TIME_RANGE_NOT_AUTHORIZED'), kind: 'rejected', code: 'TIME_RANGE_NOT_AUTHORIZED' },
    { status: 403, body: media('REQUEST_FORBIDDEN'), kind: 'rejected', code: 'REQUEST_FORBIDDEN' },
    { status: 425, body: media('RECORDING_NOT_READY'), kind: 'unavailable', code: 'RECORDING_NOT_READY' },
    { status: 400, body: JSON.stringify({ errors: [{ status: '400' }] }), kind: 'rejected', code: undefined },
    { status: 400, body: '<h1>Bad Request</h1>', kind: 'malformed', code: undefined },
    { status: 401, body: rfc6749('invalid_client'), kind: 'unauthorized', code: 'invalid_client' },
    { status: 429, body: '', kind: 'rate-limited', code: undefined },
    { status: 500, body: 'Oops', kind: 'unavailable', code: undefined },
    { status: 503, body: media('SERVER_BUSY'), kind: 'unavailable', code: 'SERVER_BUSY' },
  ])('$status with "$code" is $kind', async ({ status, body, kind, code }) => {
    const { url } = await listenAndAnswer(status, body);
    const calls = [clientOf(url).exchangeCode(CODE), clientOf(url).getDeviceStatus(ACCESS_TOKEN, 'device-1')];
    for (const error of await Promise.all(calls.map(failureOf))) {
      expect({ kind: error.kind, status: error.status, code: error.code }).toEqual({ kind, status, code });
    }
  });

  test.each([
    ['a title', jsonApi(403, 'Forbidden')],
    ['a code', media('REQUEST_FORBIDDEN')],
    ['nothing', ''],
  ])('403 of users/me with %s says what 401 says elsewhere', async (_what, body) => {
    const { url } = await listenAndAnswer(403, body);
    expect(await failureOf(clientOf(url).getAccountId(ACCESS_TOKEN))).toMatchObject({
      kind: 'unauthorized',
      status: 401,
    });
  });

  test('403 of any other endpoint is about the token, and no reason to refresh it', async () => {
    const { url } = await listenAndAnswer(403, jsonApi(403, 'Out of Scope Access'));
    expect(await failureOf(clientOf(url).getDevices(ACCESS_TOKEN))).toMatchObject({
      kind: 'unauthorized',
      status: 403,
    });
  });

  test.each([
    ['a subscription', { id: 's-2', type: 'subscriptions' }],
    [
      'a device of one',
      { id: 's-2', type: 'subscriptions', attributes: {}, relationships: { devices: { data: [{}] } } },
    ],
  ])('with %s that can’t be read is none: what is covered must not depend on half of it', async (_what, odd) => {
    const good = { id: 's-1', type: 'subscriptions', attributes: { sub_type: 'paid', status: 'active' } };
    const { url } = await listenAndAnswer(200, JSON.stringify({ data: [good, odd] }));
    expect((await failureOf(clientOf(url).getSubscriptions(ACCESS_TOKEN))).kind).toBe('malformed');
  });

  test('Retry-After in seconds is kept', async () => {
    const { url } = await listenAndAnswer(429, '', { 'retry-after': '7' });
    expect(await failureOf(clientOf(url).exchangeCode(CODE))).toMatchObject({ retryAfterSeconds: 7 });
  });

  test.each([
    ['as a date, from the answer’s own', 'Sun, 22 Nov 2026 10:00:30 GMT', 'Sun, 22 Nov 2026 10:00:00 GMT', 30],
    ['as a date of an old server', 'Sun Nov 22 10:00:30 2026', 'Sun, 22 Nov 2026 10:00:00 GMT', 30],
    ['as a date that has passed', 'Sun, 22 Nov 2026 09:59:00 GMT', 'Sun, 22 Nov 2026 10:00:00 GMT', undefined],
    ['as a date without one to reckon from', 'Sun, 22 Nov 2026 10:00:30 GMT', '', undefined],
    ['as nonsense', 'soon', 'Sun, 22 Nov 2026 10:00:00 GMT', undefined],
    ['below 0', '-5', 'Sun, 22 Nov 2026 10:00:00 GMT', undefined],
  ])('Retry-After %s', async (_how, header, date, seconds) => {
    const { url } = await listenAndAnswer(429, '', { 'retry-after': header, date });
    expect((await failureOf(clientOf(url).exchangeCode(CODE))).retryAfterSeconds).toBe(seconds);
  });

  test('an error says what failed, and nothing that was sent or received', async () => {
    for (const body of [rfc6749('invalid_grant'), rfc6749(`${CODE} ${'x'.repeat(10_000)}`), jsonApi(400, 'Bad')]) {
      const { url } = await listenAndAnswer(400, body);
      const error = await failureOf(clientOf(url).exchangeCode(CODE));
      expect(error.message).toContain('POST /oauth/token');
      expect(error.message.length).toBeLessThan(200);
      expect(error.message).not.toContain(SECRET);
      expect(error.message).not.toContain(CODE);
    }
  });

  const without = (field: keyof typeof PAIR) => ({ ...PAIR, [field]: undefined });
  test.each([
    ['nothing', ''],
    ['HTML', '<!doctype html><title>Welcome</title>'],
    ['half of it', JSON.stringify(PAIR).slice(0, -10)],
    ['null', 'null'],
    ['a list', JSON.stringify([PAIR])],
    ['no access token', JSON.stringify(without('access_token'))],
    ['no refresh token', JSON.stringify(without('refresh_token'))],
    ['an empty refresh token', JSON.stringify({ ...PAIR, refresh_token: '' })],
    ['a token that is no text', JSON.stringify({ ...PAIR, access_token: 7 })],
    ['a token that would break a header', JSON.stringify({ ...PAIR, access_token: 'a\r\nX-Evil: 1' })],
    ['more than a token answer can be', JSON.stringify({ ...PAIR, padding: 'x'.repeat(200_000) })],
  ])('200 with %s instead of a token pair is malformed', async (_what, body) => {
    const { url } = await listenAndAnswer(200, body);
    expect((await failureOf(clientOf(url).exchangeCode(CODE))).kind).toBe('malformed');
  });

  test.each([
    ['no scope', { scope: undefined }, { scope: '' }],
    ['a scope that is none', { scope: ['a'] }, { scope: '' }],
    ['a scope that Postgres does not take', { scope: 'a\0b' }, { scope: 'ab' }],
    ['no lifetime', { expires_in: undefined }, { expiresIn: 14_400 }],
    ['a lifetime in words', { expires_in: 'soon' }, { expiresIn: 14_400 }],
    ['a lifetime as text', { expires_in: '7200' }, { expiresIn: 7_200 }],
    ['a lifetime below zero', { expires_in: -1 }, { expiresIn: 14_400 }],
    ['no type', { token_type: undefined }, {}],
    ['another type', { token_type: 'mac' }, {}],
    ['more than we know', { issued_at: 7 }, {}],
  ])('a token pair with %s is taken: there is no other', async (_what, change, grant) => {
    const { url } = await listenAndAnswer(200, JSON.stringify({ ...PAIR, ...change }));
    expect(await clientOf(url).exchangeCode(CODE)).toMatchObject({
      accessToken: PAIR.access_token,
      refreshToken: PAIR.refresh_token,
      ...grant,
    });
  });

  test.each([
    ['no data', {}],
    ['no id', { data: { type: 'users' } }],
    ['an empty id', { data: { type: 'users', id: '' } }],
    ['an id that is no text', { data: { type: 'users', id: 7 } }],
    ['an endless id', { data: { type: 'users', id: 'x'.repeat(5_000) } }],
    ['something else than a user', { data: { type: 'devices', id: 'device-1' } }],
  ])('200 with %s instead of a user is malformed', async (_what, body) => {
    const { url } = await listenAndAnswer(200, JSON.stringify(body));
    expect((await failureOf(clientOf(url).getAccountId(ACCESS_TOKEN))).kind).toBe('malformed');
  });

  test.each([
    ['another status than the one asked for', 200, JSON.stringify({ status: 'pending' })],
    ['nothing', 204, ''],
    ['a page', 202, '<p>Accepted'],
  ])('a success with %s is a yes to a link all the same', async (_what, status, body) => {
    const { url } = await listenAndAnswer(status, body);
    await clientOf(url).announceLink(ACCESS_TOKEN, { accountIdentifier: 'u***r@example.com', nonce: 'N'.repeat(43) });
    await clientOf(url).completeLink(ACCESS_TOKEN, { accountIdentifier: 'u***r@example.com' });
  });

  test.each([
    ['no refresh token', { refresh_token: undefined }],
    ['null for it', { refresh_token: null }],
    ['an empty one', { refresh_token: '' }],
  ])('a refresh with %s leaves the old one good', async (_what, change) => {
    const { url } = await listenAndAnswer(200, JSON.stringify({ ...PAIR, ...change }));
    expect(await clientOf(url).refreshTokens('rt-old')).toMatchObject({
      accessToken: ACCESS_TOKEN,
      refreshToken: 'rt-old',
    });
  });
});

test.each([
  ['no links', undefined],
  ['null for links', null],
  ['no next page', { next: null }],
])('a list of subscriptions with %s is the last page', async (_what, links) => {
  const data = [{ id: 's', type: 'subscriptions', attributes: { sub_type: 'paid', status: 'active' } }];
  const { url } = await listenAndAnswer(200, JSON.stringify({ data, links }));
  expect(await clientOf(url).getSubscriptions(ACCESS_TOKEN)).toMatchObject([{ id: 's', status: 'active' }]);
});

describe('when Ring does not answer', () => {
  test('a refused connection and an unknown host are told apart from what Ring may have received', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`;
    expect((await failureOf(clientOf(nobody).exchangeCode(CODE))).kind).toBe('unreachable');
    expect((await failureOf(clientOf('http://ring.invalid').exchangeCode(CODE))).kind).toBe('unreachable');
  });

  test.each<[string, RequestListener]>([
    ['a connection that is reset', (request) => request.socket.resetAndDestroy()],
    ['a connection that is closed', (request) => request.socket.end()],
    ['silence', () => undefined],
    [
      'an answer that breaks off',
      (_request, response) => {
        response.writeHead(200, { 'content-length': '500' }).write('{"access_token":');
        setTimeout(() => response.destroy(), 20);
      },
    ],
    [
      'an answer that never ends',
      (_request, response) => {
        const dripping = setInterval(() => response.write(' '), 20);
        response.once('close', () => {
          clearInterval(dripping);
        });
      },
    ],
    ['an answer that is no HTTP', (request) => request.socket.end('SSH-2.0-OpenSSH_9.6\r\n')],
  ])('%s leaves it open whether Ring has acted', async (_what, listener) => {
    const url = await listen(listener);
    expect((await failureOf(clientOf(url, { timeoutMs: 400 }).exchangeCode(CODE))).kind).toBe('no-answer');
  });

  test('an answer without end is let go of, not collected', async () => {
    let isLetGo = false;
    const url = await listen((_request, response) => {
      response.once('close', () => {
        isLetGo = true;
      });
      const pour = (): void => {
        while (!response.destroyed && response.write('x'.repeat(16_384)));
      };
      response.on('drain', pour);
      pour();
    });
    expect((await failureOf(clientOf(url).exchangeCode(CODE))).kind).toBe('malformed');
    await until('the connection is closed', () => Promise.resolve(isLetGo));
  });

  test('a late answer is no answer: nothing of it comes back after the time-out', async () => {
    const url = await listen((_request, response) => {
      void delay(300).then(() => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
    });
    const error = await failureOf(clientOf(url, { timeoutMs: 50 }).exchangeCode(CODE));
    expect({ kind: error.kind, status: error.status }).toEqual({ kind: 'no-answer', status: undefined });
  });
});

describe('the report of a call', () => {
  test('has the endpoint’s own name wherever Ring’s links lead, the status, the time and the request limit', async () => {
    const url = await listen((request, response) => {
      const next = request.url?.includes('strange') ? undefined : '/a/strange/path/to/ava1.somebody?page=2';
      const data = [{ id: 's', type: 'subscriptions', attributes: { sub_type: 'paid', status: 'active' } }];
      response.writeHead(200, { 'x-ratelimit-limit': '100', 'x-ratelimit-remaining': next ? '99' : 'many' });
      response.end(JSON.stringify({ data, links: { next } }));
    });
    const reports: CallReport[] = [];
    const startedAt = performance.now();
    await clientOf(url, { onCall: (report) => reports.push(report) }).getSubscriptions(ACCESS_TOKEN);

    expect(reports).toMatchObject([
      { endpoint: 'GET /v1/accounts/me/subscriptions', result: 200, rateLimit: { limit: 100, remaining: 99 } },
      { endpoint: 'GET /v1/accounts/me/subscriptions', result: 200, rateLimit: { limit: 100, remaining: undefined } },
    ]);
    const tookMs = performance.now() - startedAt;
    expect(reports.every(({ durationMs }) => durationMs > 0 && durationMs < tookMs)).toBe(true);
  });

  test('says why there was no answer', async () => {
    const url = await listen((request) => request.socket.destroy());
    const reports: CallReport[] = [];
    const options = { onCall: (report: CallReport) => reports.push(report) };
    await failureOf(clientOf(url, options).getAccountId(ACCESS_TOKEN));
    await failureOf(clientOf(`http://127.0.0.1:${await freePort()}`, options).getAccountId(ACCESS_TOKEN));

    expect(reports.map(({ result }) => result)).toEqual(['no-answer', 'unreachable']);
  });
});
