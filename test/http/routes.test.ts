import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { hiddenFields, type Visitor } from '../support/clients/visitor.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilIdle } from '../support/features/inbox.js';
import { arriving, installed, newEmail, PASSWORD, signedIn } from '../support/features/linking.js';
import { OFFER } from '../support/features/live-views.js';
import { deleteAccount, newResident, type Resident, signIn, submitAccountForm } from '../support/features/my-data.js';
import { type AppRoute, routesOf } from '../support/inspection/app-routes.js';
import { startWorld, type World } from '../support/worlds/world.js';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

let world: World;
let routes: AppRoute[];
/** The victim for all tests that change nothing. */
let shared: Victim;
/** Sessions of the victim that have ended, in each possible way, and one of a deleted account. */
let ended: Caller[];
beforeAll(async () => {
  world = await startWorld();
  routes = await routesOf(world);
  shared = await newVictim();
  ended = await endSessions(shared);
});
afterAll(() => world.stop());

/** A user who has everything that an address can name. */
interface Victim extends Resident {
  scheduleId: string;
  pictureId: string;
  viewId: string;
  /** When the device recorded something, epoch ms. */
  recordedAt: number;
  /** The cursor of a place among the events. */
  cursor: string;
  /** The ID of the last of the events. */
  eventId: string;
  /** The ID on the link page of the redirect that the browser came with. */
  pendingId: string;
}

/** The sender of a request: a cookie, and the CSRF token of its session. */
interface Caller {
  cookie: string | undefined;
  csrfToken: string | undefined;
}

interface Ask {
  path: string;
  /** The fields of a form. */
  form?: Record<string, string>;
  body?: string;
  headers?: Record<string, string>;
}

/** The answers that an address has to give. */
interface RouteCase {
  /**
   * `device`: names something of the user's, and is 404 for everyone else. `own`: shows the signed-in user's own
   * things. `open`: is for anyone and shows nothing of a user.
   */
  of: 'device' | 'own' | 'open';
  ask: (victim: Victim) => Ask;
  /** The answer to the victim. */
  own: number;
  /** The answer to another user; the same unless given. */
  stranger?: number;
  /**
   * The answer to another user with a device of the same ID at Ring. 404 unless given, for addresses with an ID of
   * ours.
   */
  twin?: number;
  /** The answer to a browser that is not signed in, which leads it to the sign-in form. */
  signedOut: number;
  leadsTo?: string;
  /** The place of the CSRF token, for a route that changes something. */
  token?: 'field' | 'header';
  /** True if the request takes something from the victim that other tests need. */
  spends?: true;
}

const toDevice =
  (rest = '') =>
  (victim: Victim) =>
    `${victim.path}${rest}`;
const get =
  (path: string | ((victim: Victim) => string)) =>
  (victim: Victim): Ask => ({ path: typeof path === 'string' ? path : path(victim) });
const form =
  (path: string | ((victim: Victim) => string), fields: (victim: Victim) => Record<string, string> = () => ({})) =>
  (victim: Victim): Ask => ({ ...get(path)(victim), form: fields(victim) });
const toSchedule = (change: string) => (victim: Victim) =>
  `${victim.path}/scheduled-operations/${victim.scheduleId}/${change}`;
const toView = (victim: Victim) => `${victim.path}/live-views/${victim.viewId}`;
const toEvent = (victim: Victim) => `${victim.path}/events/${victim.eventId}/snapshot`;
const toRecording = (victim: Victim) => `${victim.path}/recordings/${victim.recordedAt}`;
const toPicture = (victim: Victim) => `${victim.path}/snapshots/${victim.pictureId}`;

const PAGE = { signedOut: 303, leadsTo: '/ring/home?sign-in' } as const;
/** Leads back to the page of the form, which then shows a refusal. */
const RELOAD = { of: 'open', own: 303, signedOut: 303 } as const;
const OPEN = { of: 'open', signedOut: 200, own: 200 } as const;

/** Every route of the app, and no other. */
const CASES: Record<string, RouteCase> = {
  'POST /webhooks/ring': {
    ...OPEN,
    ask: ({ ringUser }) => ({ path: '/webhooks/ring', body: JSON.stringify({ account_id: ringUser.account_id }) }),
    own: 401,
    signedOut: 401,
  },
  'GET /livez': { ...OPEN, ask: get('/livez') },
  'GET /readyz': { ...OPEN, ask: get('/readyz') },
  'GET /metrics': { ...OPEN, ask: get('/metrics') },
  'POST /ring/token': { ...OPEN, ask: form('/ring/token'), own: 400, signedOut: 400 },

  'GET /': { ...RELOAD, ask: get('/'), leadsTo: '/ring/home' },
  'GET /ring/home': { of: 'own', ask: get('/ring/home'), own: 200, signedOut: 200 },
  'GET /ring/link': { of: 'own', ask: get('/ring/link'), own: 200, signedOut: 400 },
  'POST /ring/link': {
    of: 'own',
    ask: form('/ring/link', ({ pendingId }) => ({ link: pendingId })),
    own: 303,
    stranger: 200,
    signedOut: 303,
    leadsTo: '/ring/link',
    token: 'field',
    spends: true,
  },
  'GET /sign-in': { ...RELOAD, ask: get('/sign-in') },
  'GET /sign-up': { ...RELOAD, ask: get('/sign-up') },
  'GET /sign-out': { ...RELOAD, ask: get('/sign-out') },
  'POST /sign-in': {
    of: 'open',
    ask: form('/sign-in', ({ email }) => ({ email, password: 'not the password' })),
    own: 401,
    signedOut: 401,
    token: 'field',
    // The failed attempt counts for the account, whichever session makes it.
    spends: true,
  },
  'POST /sign-up': {
    of: 'open',
    ask: form('/sign-up', ({ email }) => ({ email, password: PASSWORD })),
    own: 409,
    signedOut: 409,
    token: 'field',
  },
  'POST /sign-out': {
    of: 'own',
    ask: form('/sign-out'),
    own: 303,
    signedOut: 303,
    leadsTo: '/ring/home',
    token: 'field',
    spends: true,
  },

  'GET /devices/:deviceId': { ...PAGE, of: 'device', ask: get(toDevice()), own: 200 },
  'GET /devices/:deviceId/scheduled-operations': { ...RELOAD, ask: get(toDevice('/scheduled-operations')) },
  'POST /devices/:deviceId/scheduled-operations': {
    ...PAGE,
    of: 'device',
    ask: form(toDevice('/scheduled-operations'), () => ({ frequency: 'HOURLY' })),
    own: 303,
    token: 'field',
  },
  ...Object.fromEntries(
    ['pause', 'resume', 'delete'].flatMap((change): [string, RouteCase][] => {
      const route = `/devices/:deviceId/scheduled-operations/:operationId/${change}`;
      return [
        [`GET ${route}`, { ...RELOAD, ask: get(toSchedule(change)) }],
        [
          `POST ${route}`,
          { ...PAGE, of: 'device', ask: form(toSchedule(change)), own: 303, twin: 303, token: 'field', spends: true },
        ],
      ];
    }),
  ),
  'GET /devices/:deviceId/snapshots': { ...RELOAD, ask: get(toDevice('/snapshots')) },
  'POST /devices/:deviceId/snapshots': {
    ...PAGE,
    of: 'device',
    ask: form(toDevice('/snapshots')),
    own: 303,
    token: 'field',
  },
  'GET /devices/:deviceId/snapshots/:snapshotId': { ...PAGE, of: 'device', ask: get(toPicture), own: 200 },
  ...Object.fromEntries(
    ['view', 'download'].map((part): [string, RouteCase] => [
      `GET /devices/:deviceId/snapshots/:snapshotId/${part}`,
      { ...PAGE, of: 'device', ask: get((victim) => `${toPicture(victim)}/${part}`), own: 200 },
    ]),
  ),
  'GET /devices/:deviceId/snapshots/:snapshotId/delete': {
    ...RELOAD,
    ask: get((victim) => `${toPicture(victim)}/delete`),
  },
  'POST /devices/:deviceId/snapshots/:snapshotId/delete': {
    ...PAGE,
    of: 'device',
    ask: form((victim) => `${toPicture(victim)}/delete`),
    own: 303,
    twin: 303,
    token: 'field',
    spends: true,
  },
  'GET /devices/:deviceId/event-pictures': { ...RELOAD, ask: get(toDevice('/event-pictures')) },
  'POST /devices/:deviceId/event-pictures': {
    ...PAGE,
    of: 'device',
    ask: form(toDevice('/event-pictures'), () => ({ on: 'yes' })),
    own: 303,
    token: 'field',
  },
  'GET /devices/:deviceId/events/:eventId/snapshot': { ...PAGE, of: 'device', ask: get(toEvent), own: 200 },
  'POST /devices/:deviceId/events/:eventId/snapshot': {
    ...PAGE,
    of: 'device',
    ask: form(toEvent),
    own: 303,
    token: 'field',
    spends: true,
  },
  'GET /devices/:deviceId/recordings/:at': { ...PAGE, of: 'device', ask: get(toRecording), own: 200, twin: 403 },
  'GET /devices/:deviceId/recordings/:at/video': {
    of: 'device',
    ask: get((victim) => `${toRecording(victim)}/video`),
    own: 200,
    twin: 403,
    signedOut: 401,
  },
  'POST /devices/:deviceId/live-views': {
    of: 'device',
    ask: (victim) => ({
      path: `${victim.path}/live-views`,
      body: OFFER,
      headers: { 'content-type': 'application/sdp' },
    }),
    own: 201,
    signedOut: 401,
    token: 'header',
  },
  'GET /devices/:deviceId/live-views/:viewId': { of: 'device', ask: get(toView), own: 200, signedOut: 401 },
  'DELETE /devices/:deviceId/live-views/:viewId': {
    of: 'device',
    ask: get(toView),
    own: 204,
    signedOut: 401,
    token: 'header',
    spends: true,
  },

  'GET /events': { ...PAGE, of: 'own', ask: get(({ cursor }) => `/events?before=${cursor}`), own: 200 },
  'GET /events/stream': {
    of: 'own',
    ask: ({ device, cursor, eventId }) => ({
      path: `/events/stream?device=${encodeURIComponent(device.id)}&after=${cursor}&lastEventId=${eventId}`,
      headers: { 'last-event-id': eventId },
    }),
    own: 200,
    signedOut: 401,
  },

  'GET /account': { ...PAGE, of: 'own', ask: get('/account'), own: 200 },
  'HEAD /account/data': { ...OPEN, ask: get('/account/data'), own: 405, signedOut: 405 },
  'GET /account/data': { ...PAGE, of: 'own', ask: get('/account/data'), own: 200 },
  'GET /account/deleted': { of: 'own', ask: get('/account/deleted'), own: 303, signedOut: 200 },
  'GET /account/email': { ...RELOAD, ask: get('/account/email') },
  'GET /account/password': { ...RELOAD, ask: get('/account/password') },
  'GET /account/delete': { ...RELOAD, ask: get('/account/delete') },
  'POST /account/email': {
    ...PAGE,
    of: 'own',
    ask: form('/account/email', ({ userId }) => ({ id: userId, new: newEmail(), current: PASSWORD })),
    own: 303,
    token: 'field',
    spends: true,
  },
  'POST /account/password': {
    ...PAGE,
    of: 'own',
    ask: form('/account/password', ({ userId }) => ({ id: userId, new: `${PASSWORD}!`, current: PASSWORD })),
    own: 303,
    token: 'field',
    spends: true,
  },
  'POST /account/delete': {
    ...PAGE,
    of: 'own',
    ask: form('/account/delete', ({ userId }) => ({ id: userId, confirmation: 'DELETE', current: PASSWORD })),
    own: 303,
    token: 'field',
    spends: true,
  },
};

const METHOD_AND_PATH = Object.keys(CASES).map((key) => {
  const [method = '', path = ''] = key.split(' ');
  return { key, method, path };
});

test('every route that the app has stands in the table of this test, and no other', () => {
  const found = routes.flatMap(({ path, methods }) => methods.map((method) => `${method} ${path}`));
  expect(found.sort()).toEqual(Object.keys(CASES).sort());
});

describe.each(METHOD_AND_PATH)('$key', ({ key, method }) => {
  const { of, ask, own, stranger = own, twin: toTwin, signedOut, leadsTo, token, spends } = CASES[key] ?? missing();

  test('is for its user alone', async () => {
    const victim = spends === undefined ? shared : await newVictim();
    const asked = () => ask(victim);
    const secrets = secretsOf(victim).filter((secret) => !JSON.stringify(asked()).includes(secret));
    const request = (caller: Caller) => answerTo(method, asked(), caller, token);
    /** Nothing of the victim's is shown or changed. */
    async function tells(caller: Caller) {
      const before = await everythingOf(victim);
      const answer = await request(caller);
      await untilIdle(world);
      expect(secrets.filter((secret) => answer.everything.includes(secret))).toEqual([]);
      if (key !== 'POST /sign-in') expect(await everythingOf(victim)).toEqual(before);
      if (of !== 'open') expectPrivate(answer.headers);
      return answer;
    }

    // Two other users, one of them with a device of the same ID at Ring. The first finds nothing there, the second her
    // own.
    const [other, twin] = await Promise.all([sharing(world), sharing(world, { id: victim.device.id })]);
    for (const caller of [other, twin]) {
      const isHers = of !== 'device' || (caller === twin && !/:(?:(?:operation|snapshot|event|view)Id|at\b)/.test(key));
      const status = isHers ? stranger : ((caller === twin ? toTwin : undefined) ?? 404);
      expect((await tells(callerOf(caller))).status).toBe(status);
    }

    // Callers who are not signed in: without a session, with one of a stranger, and with one that has ended.
    const strange = world.visitor();
    await strange.open('/ring/home');
    const visitor = { cookie: strange.cookie, csrfToken: hiddenFields(strange.page.text, '/sign-in')._csrf };
    for (const caller of [visitor, { cookie: undefined, csrfToken: undefined }, ...ended]) {
      const answer = await tells(caller);
      const isForm = token === 'field' && caller !== visitor;
      if (isForm && answer.status === 403) continue;
      expect(answer.status).toBe(signedOut);
      if (leadsTo !== undefined) expect(answer.location).toBe(leadsTo);
    }

    // The victim's browser, as other sites would make it send requests.
    if (token !== undefined) {
      for (const csrfToken of [undefined, '', 'f'.repeat(256), other.csrfToken]) {
        const answer = await tells({ cookie: victim.visitor.cookie, csrfToken });
        expect(answer.status).toBe(403);
      }
      const crossSite = { ...asked().headers, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
      const caller = { cookie: victim.visitor.cookie, csrfToken: undefined };
      const answer = await answerTo(method, { ...asked(), headers: crossSite }, caller, token);
      expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([403, null]);
    }

    // The victim: the address was valid all the time.
    if (method === 'GET') {
      const head = await answerTo('HEAD', asked(), callerOf(victim), token);
      expect([head.status, head.text]).toEqual([key === 'GET /account/data' ? 405 : own, '']);
    }
    const answer = await request(callerOf(victim));
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([own, null]);
    if (of !== 'open') expectPrivate(answer.headers);
  });
});

test.each(METHOD_AND_PATH)('$key answers methods that it does not know with 405 or 404', async ({ path }) => {
  const victim = shared;
  const known = METHOD_AND_PATH.filter((one) => one.path === path).map(({ method }) => method);
  if (known.includes('GET')) known.push('HEAD');
  const [first] = known;
  const asked = { path: (CASES[`${first ?? ''} ${path}`] ?? missing()).ask(victim).path };
  const before = await everythingOf(victim);
  for (const method of METHODS.filter((one) => !known.includes(one))) {
    const answer = await answerTo(method, asked, callerOf(victim), 'header');
    const allowed = answer.headers.get('allow')?.split(/, */) ?? [];
    expect([method, answer.status]).toEqual([method, expect.anything()]);
    expect(method === 'OPTIONS' ? [200, 204, 404, 405] : [404, 405]).toContain(answer.status);
    if (answer.status !== 404) {
      expect(allowed.filter((one) => !known.includes(one))).toEqual([]);
      expect(allowed.length).toBeGreaterThan(0);
    }
  }
  expect(await everythingOf(victim)).toEqual(before);
});

// The people

async function newVictim(): Promise<Victim> {
  const resident = await newResident(world);
  const { visitor, ringUser, path } = resident;
  const idIn = async (table: string, column = 'id') => {
    const rows = await world.sql<{ id: string }>(`SELECT ${column} AS id FROM ${table} WHERE account_id = $1`, [
      ringUser.account_id,
    ]);
    return rows[0]?.id ?? missing();
  };
  const eventId = await idIn('device_events', 'request_id');
  const recordedAt = world.clock.now().getTime();
  await world.ring.record({ user_id: ringUser.id, device_id: resident.device.id, start: recordedAt, end: recordedAt });
  // Whoever shares a device after this has not shared it then.
  world.clock.advance(1);
  await visitor.open(path);
  const cursor = Buffer.from(JSON.stringify([world.clock.now().getTime(), eventId])).toString('base64url');
  // Another Ring account of the victim's, which is about to be linked.
  const second = await installed(world);
  await arriving(world, second, visitor);
  const { link = '' } = hiddenFields(visitor.page.text, '/ring/link');
  return {
    ...resident,
    scheduleId: await idIn('scheduled_operations'),
    pictureId: await idIn('snapshots'),
    viewId: await idIn('live_views'),
    recordedAt,
    eventId,
    cursor,
    pendingId: link,
  };
}

const callerOf = ({ visitor, csrfToken }: Pick<Owner, 'visitor' | 'csrfToken'>): Caller => ({
  cookie: visitor.cookie,
  csrfToken,
});

/** Sessions that were valid and have ended, each with its cookie and token. */
async function endSessions(victim: Victim): Promise<Caller[]> {
  const callerAt = async (visitor: Visitor): Promise<Caller> => {
    await visitor.open('/account');
    return { cookie: visitor.cookie, csrfToken: hiddenFields(visitor.page.text, '/sign-out')._csrf };
  };
  const [left, elsewhere] = [await signIn(world, victim.email), await signIn(world, victim.email)];
  const [signedOut, passwordChanged] = [await callerAt(left), await callerAt(elsewhere)];
  await left.submit('/sign-out');
  await submitAccountForm(victim.visitor, 'password', { new: PASSWORD });
  victim.csrfToken = hiddenFields(victim.visitor.page.text, '/sign-out')._csrf ?? missing();

  const leaver = await signedIn(world);
  const deleted = await callerAt(leaver);
  await deleteAccount(leaver);
  return [signedOut, passwordChanged, deleted];
}

/** Texts that no other user may see. */
function secretsOf({ visitor, csrfToken, ringUser, userId, ...victim }: Victim): string[] {
  return [
    ...[userId, victim.email, ringUser.account_id, csrfToken, visitor.sessionCookie],
    ...[victim.device.name, victim.removedDevice.name, victim.removedDevice.id, victim.pendingId],
    ...[victim.scheduleId, victim.pictureId, victim.viewId, victim.eventId, victim.picture.toString()],
  ];
}

/** All rows of all tables that belong to the user, and the user's jobs. */
async function everythingOf({ userId, email, ringUser }: Victim): Promise<Record<string, unknown[]>> {
  const tables = await world.sql<{ name: string }>(
    `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name FROM information_schema.tables
      WHERE table_type = 'BASE TABLE'
        AND (table_schema = 'public' OR (table_schema = 'graphile_worker' AND table_name = '_private_jobs'))`,
  );
  expect(tables.length).toBeGreaterThan(10);
  const found: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    // Any request with the cookie prolongs a session.
    const line = name === 'public.sessions' ? `sid || (sess::jsonb - 'cookie')` : 'one';
    const rows = await world.sql<{ line: string }>(
      `SELECT (${line})::text AS line FROM ${name} AS one
        WHERE one::text LIKE ANY (ARRAY['%' || $1 || '%', '%' || $2 || '%', '%' || $3 || '%']) ORDER BY 1`,
      [userId, email, ringUser.account_id],
    );
    if (rows.length > 0) found[name] = rows.map(({ line }) => line);
  }
  expect(Object.keys(found).length).toBeGreaterThan(5);
  return found;
}

// Requests and answers

/** Sends one request. An event stream is read until its first message. */
async function answerTo(
  method: string,
  { path, form, body, headers }: Ask,
  caller: Caller,
  token?: 'field' | 'header',
) {
  const fields = token === 'field' && caller.csrfToken !== undefined ? { _csrf: caller.csrfToken, ...form } : form;
  const content = fields === undefined ? body : new URLSearchParams(fields);
  const response = await fetch(world.url + path, {
    method,
    redirect: 'manual',
    headers: {
      ...headers,
      ...(caller.cookie !== undefined && { cookie: caller.cookie }),
      ...(token === 'header' && caller.csrfToken !== undefined && { 'x-csrf-token': caller.csrfToken }),
    },
    ...(content !== undefined && method !== 'GET' && method !== 'HEAD' && { body: content }),
  });
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const text = isStream && method === 'GET' ? await beginningOf(response) : await response.text();
  return {
    status: response.status,
    headers: response.headers,
    location: response.headers.get('location'),
    text,
    everything: [...[...response.headers].map((header) => header.join(': ')), text].join('\n'),
  };
}

async function beginningOf({ body }: Response): Promise<string> {
  const reader = body?.getReader() ?? missing();
  const first = (await reader.read()) as { value?: Uint8Array };
  await reader.cancel();
  return Buffer.from(first.value ?? []).toString();
}

function expectPrivate(headers: Headers): void {
  expect(headers.get('cache-control')).toContain('no-store');
  const policy = headers.get('content-security-policy') ?? '';
  expect(policy).toMatch(/default-src '(self|none)'/);
  // A browser shows a picture that is opened by itself in a page of its own, with a style in it.
  const isPicture = headers.get('content-type')?.startsWith('image/');
  expect(isPicture ? policy.replace("style-src 'unsafe-inline'", '') : policy).not.toContain('unsafe-');
}

function missing(): never {
  throw new Error('the test lacks something that it needs');
}
