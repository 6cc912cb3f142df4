import { createHmac, randomUUID } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { ENDPOINTS } from '../../src/ring/endpoints.js';
import { EVENT_TYPES } from '../../src/ring/events.js';
import { send } from '../support/clients/http.js';
import { type Visitor } from '../support/clients/visitor.js';
import { type Owner, recordNow, sharing } from '../support/features/devices.js';
import { PASSWORD, arriving, deliverCode, newEmail, once, untilLink } from '../support/features/linking.js';
import { OFFER } from '../support/features/live-views.js';
import { Scrape, scrape } from '../support/inspection/metrics.js';
import { passPauses } from '../support/waiting/jobs.js';
import { WAIT_LIMIT_MS } from '../support/waiting/limits.js';
import { holdLock } from '../support/waiting/locks.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startOwnPostgres } from '../support/worlds/postgres.js';
import { type RingUser } from '../support/worlds/ring.js';
import { HMAC_KEY, type World, startWorld } from '../support/worlds/world.js';

const TOKEN = 'a-metrics-token-for-tests';
const HOUR = 3_600;
const DAY = 24 * HOUR;

let world: World;
beforeAll(async () => {
  world = await startWorld({ environment: { METRICS_TOKEN: TOKEN } });
});
afterAll(() => world.stop());

const look = () => scrape(world.url, TOKEN);

/** The growth of some series, and the values of others afterwards. */
interface Expected {
  grows?: Record<string, number>;
  /** For series of periodic tasks, which may run by themselves meanwhile. */
  growsAtLeast?: Record<string, number>;
  becomes?: Record<string, number>;
}

/** Runs `happen`, and waits until the metrics are as expected. */
async function moves(
  happening: () => Promise<unknown>,
  { grows = {}, growsAtLeast = {}, becomes = {} }: Expected,
): Promise<void> {
  const before = await look();
  await happening();
  const growth = (now: Scrape) => ({
    ...valuesOf(grows, (name) => now.count(name) - before.count(name)),
    ...valuesOf(growsAtLeast, (name) => Math.min(growsAtLeast[name] ?? 0, now.count(name) - before.count(name))),
  });
  const present = (now: Scrape) => valuesOf(becomes, (name) => now.value(name));
  const expected = { grows: { ...grows, ...growsAtLeast }, becomes };
  const areEqual = (one: object, other: object) => JSON.stringify(one) === JSON.stringify(other);

  let after = before;
  await until('the metrics have moved', async () => {
    after = await look();
    const hasGrown = areEqual(growth(after), expected.grows);
    // The rows of everything are counted once a minute.
    if (hasGrown && !areEqual(present(after), becomes)) world.clock.advance(61);
    return hasGrown && areEqual(present(after), becomes);
  }).catch(() => undefined);
  expect({ grows: growth(after), becomes: present(after) }).toEqual(expected);
}

const valuesOf = <Value>(names: Record<string, number>, valueOf: (name: string) => Value): Record<string, Value> =>
  Object.fromEntries(Object.keys(names).map((name) => [name, valueOf(name)]));

describe('a whole life moves', () => {
  let ringUser: RingUser;
  let visitor: Visitor;
  let owner: Owner;

  beforeAll(async () => {
    ringUser = await world.ring.createUser();
    await world.ring.setSettings({ automaticWebhooks: false });
  });

  const event = (wish: { type: string; deliver?: 'twice' | 'bad-signature' }, user = ringUser) =>
    world.ring.sendEvent({ user_id: user.id, ...wish });
  const post = (body: string, headers: Record<string, string> = {}) =>
    fetch(`${world.url}/webhooks/ring`, { method: 'POST', body, headers: { ...signed(body), ...headers } });

  const steps: [what: string, happening: () => Promise<unknown>, expected: Expected][] = [
    [
      'a code whose account Ring does not tell',
      async () => {
        await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 500 } }]);
        await world.ring.install(ringUser);
      },
      {
        grows: {
          'ring_link_token_exchanges_total{outcome="STORED"}': 1,
          'ring_link_ring_requests_total{endpoint="POST /oauth/token",status="200"}': 1,
          'ring_link_ring_request_duration_seconds_count{endpoint="POST /oauth/token"}': 1,
        },
        becomes: {
          ring_link_unidentified_pairs: 1,
          ring_link_unclaimed_pairs: 0,
          'ring_link_jobs{state="scheduled"}': 1,
        },
      },
    ],
    [
      'the account, once it is known',
      async () => {
        await world.ring.setFaults([]);
        await passPauses(world);
      },
      {
        grows: { 'ring_link_ring_requests_total{endpoint="GET /v1/users/me",status="200"}': 1 },
        becomes: { ring_link_unidentified_pairs: 0, ring_link_unclaimed_pairs: 1 },
      },
    ],
    [
      'a code that Ring refuses',
      () => deliverCode(world, 'sim-code-that-ring-never-issued'),
      {
        grows: {
          'ring_link_token_exchanges_total{outcome="REFUSED"}': 1,
          'ring_link_ring_requests_total{endpoint="POST /oauth/token",status="400"}': 1,
        },
      },
    ],
    [
      'an exchange without an answer',
      async () => {
        await world.ring.setFaults([once('token', { kind: 'reset' })]);
        await deliverCode(world, 'a-code');
      },
      {
        grows: {
          'ring_link_token_exchanges_total{outcome="UNCERTAIN"}': 1,
          'ring_link_ring_requests_total{endpoint="POST /oauth/token",status="no-answer"}': 1,
        },
      },
    ],
    [
      'a webhook before its account is linked',
      () => event({ type: 'device_added' }),
      {
        grows: {
          'ring_link_webhooks_received_total{outcome="stored",type="device_added"}': 1,
          ring_link_webhook_stored_delay_seconds_count: 1,
          ring_link_webhook_processed_delay_seconds_count: 0,
        },
        becomes: {
          'ring_link_webhook_backlog_events{account="unlinked"}': 1,
          'ring_link_webhook_backlog_events{account="linked"}': 0,
        },
      },
    ],
    [
      'a visitor whose pair is not in the pool',
      async () => {
        const stranger = await world.ring.createUser();
        await world.ring.issueCode(stranger);
        const other = await arriving(world, stranger);
        await other.submit('/sign-up', { email: newEmail(), password: PASSWORD });
      },
      { grows: { 'ring_link_claims_total{outcome="no-match"}': 1 } },
    ],
    [
      'a visitor who has removed the app before linking it',
      async () => {
        const leaver = await world.ring.createUser();
        await world.ring.issueCode(leaver);
        const other = await arriving(world, leaver);
        await world.ring.sendEvent({ user_id: leaver.id, type: 'app_integration_removed' });
        await other.submit('/sign-up', { email: newEmail(), password: PASSWORD });
      },
      {
        grows: {
          'ring_link_claims_total{outcome="app-removed"}': 1,
          'ring_link_webhooks_received_total{outcome="stored",type="app_integration_removed"}': 1,
          'ring_link_webhook_attempts_total{outcome="processed",type="app_integration_removed"}': 1,
        },
      },
    ],
    [
      'a claim that Ring does not confirm',
      async () => {
        await world.ring.setFaults([{ endpoint: 'integration-post', fault: { kind: 'status', status: 503 } }]);
        visitor = await arriving(world, ringUser);
        await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });
      },
      {
        grows: {
          'ring_link_claims_total{outcome="claimed"}': 1,
          ring_link_match_candidates_count: 1,
          ring_link_match_candidates_sum: 1,
          ring_link_match_duration_seconds_count: 1,
        },
        becomes: {
          ring_link_unclaimed_pairs: 0,
          'ring_link_confirming_links{waiting="ring"}': 1,
          'ring_link_links{status="CONFIRMING"}': 1,
        },
      },
    ],
    [
      'the link, once Ring confirms it, and what waited for it',
      async () => {
        await world.ring.setFaults([]);
        await passPauses(world);
        await untilLink(world, ringUser, 'COMPLETED');
      },
      {
        grows: {
          'ring_link_webhook_attempts_total{outcome="processed",type="device_added"}': 1,
          ring_link_webhook_processed_delay_seconds_count: 1,
        },
        becomes: {
          'ring_link_confirming_links{waiting="ring"}': 0,
          'ring_link_links{status="COMPLETED"}': 1,
          'ring_link_claimed_pairs{refresh_state="FINE"}': 1,
          'ring_link_refresh_tokens{age="0-1d"}': 1,
          'ring_link_webhook_backlog_events{account="unlinked"}': 0,
        },
      },
    ],
    [
      'a webhook that comes twice',
      () => event({ type: 'motion_detected', deliver: 'twice' }),
      {
        grows: {
          'ring_link_webhooks_received_total{outcome="stored",type="motion_detected"}': 1,
          'ring_link_webhooks_received_total{outcome="duplicate",type="motion_detected"}': 1,
          'ring_link_webhook_attempts_total{outcome="processed",type="motion_detected"}': 1,
        },
      },
    ],
    [
      'a webhook with a bad signature',
      () => event({ type: 'motion_detected', deliver: 'bad-signature' }),
      { grows: { 'ring_link_webhooks_received_total{outcome="bad_signature",type="unknown"}': 1 } },
    ],
    [
      'a webhook without a signature',
      () => post('{}', { 'x-signature': '' }),
      {
        grows: {
          'ring_link_webhooks_received_total{outcome="unsigned",type="unknown"}': 1,
          'ring_link_webhooks_received_total{outcome="bad_signature",type="unknown"}': 0,
        },
      },
    ],
    [
      'a webhook with a signature that is none',
      () => post('{}', { 'x-signature': 'sha256=0' }),
      {
        grows: {
          'ring_link_webhooks_received_total{outcome="unsigned",type="unknown"}': 1,
          'ring_link_webhooks_received_total{outcome="bad_signature",type="unknown"}': 0,
        },
      },
    ],
    [
      'a large webhook without a signature',
      () => post('x'.repeat(300_000), { 'x-signature': '' }).catch(() => undefined),
      {
        grows: {
          'ring_link_webhooks_received_total{outcome="unsigned",type="unknown"}': 1,
          'ring_link_webhooks_received_total{outcome="too_large",type="unknown"}': 0,
        },
      },
    ],
    [
      'a webhook that is malformed',
      () => post('{"meta":{}}'),
      { grows: { 'ring_link_webhooks_received_total{outcome="malformed",type="unknown"}': 1 } },
    ],
    [
      'a webhook that is compressed',
      () => post('{}', { 'content-encoding': 'gzip' }),
      { grows: { 'ring_link_webhooks_received_total{outcome="malformed",type="unknown"}': 1 } },
    ],
    [
      'a webhook that is too large',
      () => post('x'.repeat(300_000)),
      { grows: { 'ring_link_webhooks_received_total{outcome="too_large",type="unknown"}': 1 } },
    ],
    [
      'an event that can not be applied',
      async () => {
        await world.sql(`ALTER TABLE device_events ADD CONSTRAINT planted CHECK (type <> 'button_press')`);
        await event({ type: 'button_press' });
      },
      {
        grows: { 'ring_link_webhook_attempts_total{outcome="failed",type="button_press"}': 1 },
        becomes: { 'ring_link_webhook_backlog_events{account="linked"}': 1, ring_link_webhook_failed_events: 0 },
      },
    ],
    [
      'an event that has failed for good',
      async () => {
        await world.sql(`UPDATE webhook_events SET attempts = 11, retry_at = now() WHERE status = 'PENDING'`);
        await passPauses(world);
      },
      {
        grows: { 'ring_link_webhook_attempts_total{outcome="failed",type="button_press"}': 1 },
        becomes: { 'ring_link_webhook_backlog_events{account="linked"}': 0, ring_link_webhook_failed_events: 1 },
      },
    ],
    [
      'Ring’s request limit',
      async () => {
        await world.ring.setFaults([once('devices', { kind: 'status', status: 429 })]);
        await event({ type: 'app_integration_added' });
        await world.ring.setFaults([once('device', { kind: 'status', status: 429 })]);
        await event({ type: 'device_added' });
      },
      {
        becomes: { ring_link_ring_rate_limit_requests: 100, ring_link_ring_rate_limit_remaining_requests: 0 },
      },
    ],
    [
      'a live view',
      async () => {
        owner = await sharing(world);
        const answer = await send(world.url, `${owner.path}/live-views`, {
          body: OFFER,
          cookie: owner.visitor.cookie,
          headers: { 'content-type': 'application/sdp', 'x-csrf-token': owner.csrfToken },
        });
        expect(answer.status).toBe(201);
      },
      { becomes: { 'ring_link_live_views{status="OPEN"}': 1, 'ring_link_live_views{status="OPENING"}': 0 } },
    ],
    [
      'a schedule',
      () => owner.visitor.submit(`${owner.path}/scheduled-operations`, { frequency: 'HOURLY' }),
      { becomes: { 'ring_link_scheduled_operations{status="ACTIVE"}': 1 } },
    ],
    [
      'a scheduled picture',
      async () => {
        world.clock.advance(HOUR);
        await recordNow(world, owner);
        await tick('start due snapshots');
      },
      {
        grows: {
          'ring_link_snapshots_total{outcome="taken"}': 1,
          'ring_link_ring_requests_total{endpoint="GET of a picture",status="200"}': 1,
        },
      },
    ],
    [
      'a scheduled picture that fails',
      async () => {
        await world.ring.setFaults([{ endpoint: 'image', fault: { kind: 'status', status: 404 } }]);
        world.clock.advance(HOUR);
        await tick('start due snapshots');
      },
      { grows: { 'ring_link_snapshots_total{outcome="gone"}': 1 } },
    ],
    [
      'a refresh',
      async () => {
        await world.ring.setFaults([]);
        world.clock.advance(25 * HOUR);
        await tick('refresh tokens');
      },
      {
        grows: { 'ring_link_token_refreshes_total{outcome="REFRESHED"}': 2 },
        becomes: { 'ring_link_refresh_tokens{age="0-1d"}': 2, 'ring_link_refresh_tokens{age="1-2d"}': 0 },
      },
    ],
    [
      'refreshes that fail',
      async () => {
        await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'status', status: 503 } }]);
        world.clock.advance(25 * HOUR);
        await tick('refresh tokens');
      },
      {
        growsAtLeast: { 'ring_link_token_refreshes_total{outcome="UNCERTAIN"}': 2 },
        becomes: {
          'ring_link_claimed_pairs{refresh_state="UNCERTAIN"}': 2,
          'ring_link_claimed_pairs{refresh_state="FINE"}': 0,
          'ring_link_refresh_tokens{age="0-1d"}': 0,
          'ring_link_refresh_tokens{age="1-2d"}': 2,
        },
      },
    ],
    [
      'refreshes without an answer, and tokens that grow old',
      async () => {
        await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'reset' } }]);
        world.clock.advance(20 * DAY);
        await tick('refresh tokens');
      },
      {
        growsAtLeast: { 'ring_link_token_refreshes_total{outcome="UNCERTAIN"}': 2 },
        becomes: {
          'ring_link_claimed_pairs{refresh_state="UNCERTAIN"}': 2,
          'ring_link_refresh_tokens{age="1-2d"}': 0,
          'ring_link_refresh_tokens{age="20-30d"}': 2,
        },
      },
    ],
    [
      'a refresh that Ring refuses for good',
      async () => {
        await world.ring.setFaults([
          {
            endpoint: 'token',
            fault: { kind: 'body', status: 400, contentType: 'application/json', body: '{"error":"invalid_grant"}' },
          },
        ]);
        world.clock.advance(2 * HOUR);
        await tick('refresh tokens');
      },
      {
        grows: { 'ring_link_token_refreshes_total{outcome="REFUSED"}': 2 },
        becomes: { 'ring_link_links{status="REAUTH_REQUIRED"}': 2, 'ring_link_refresh_tokens{age="20-30d"}': 0 },
      },
    ],
    [
      'a link that ends',
      async () => {
        await world.ring.setFaults([]);
        await event({ type: 'app_integration_removed' });
      },
      {
        grows: { 'ring_link_webhook_attempts_total{outcome="processed",type="app_integration_removed"}': 1 },
        becomes: { 'ring_link_links{status="REMOVED"}': 1 },
      },
    ],
    [
      'a periodic task',
      () => tick('forget old code exchanges'),
      { growsAtLeast: { 'ring_link_clock_ticks_total{clock="forget old code exchanges",outcome="done"}': 1 } },
    ],
    [
      'a periodic task that fails',
      async () => {
        await world.sql('ALTER TABLE token_exchanges RENAME TO hidden');
        await tick('forget old code exchanges');
        const series = 'ring_link_clock_ticks_total{clock="forget old code exchanges",outcome="failed"}';
        await until('it has failed', async () => (await look()).count(series) > 0);
        await world.sql('ALTER TABLE hidden RENAME TO token_exchanges');
      },
      { growsAtLeast: { 'ring_link_clock_ticks_total{clock="forget old code exchanges",outcome="failed"}': 1 } },
    ],
  ];
  test.each(steps)('%s', async (_what, happening, expected) => {
    await moves(happening, expected);
  });

  test('and shows ages', async () => {
    await world.ring.install(await world.ring.createUser());
    await event({ type: 'device_added' }, await world.ring.createUser());
    await until('the pair is in the pool', async () => (await look()).value('ring_link_unclaimed_pairs') === 1);
    world.clock.advance(200);

    const after = await look();

    expect(after.value('ring_link_unclaimed_oldest_age_seconds')).toBeCloseTo(200, 0);
    expect(after.value('ring_link_webhook_backlog_oldest_age_seconds{account="unlinked"}')).toBeCloseTo(200, 0);
    expect(after.value('ring_link_webhook_backlog_oldest_age_seconds{account="linked"}')).toBe(0);
  });

  test('and shows connections, readiness and the process', async () => {
    const now = await look();

    for (const pool of ['knex', 'callback', 'libraries', 'queue', 'inbox', 'metrics']) {
      expect(now.value(`ring_link_database_connections_limit{pool="${pool}"}`)).toBeGreaterThan(0);
      expect(now.value(`ring_link_database_waiting{pool="${pool}"}`)).toBe(0);
      expect(now.value(`ring_link_database_connections{pool="${pool}",state="in_use"}`)).toBeDefined();
    }
    for (const check of ['database', 'migrations', 'queue', 'accepting']) {
      expect(now.value(`ring_link_ready{check="${check}"}`)).toBe(1);
    }
    for (const reading of ['backlog', 'queue', 'census']) {
      expect(now.value(`ring_link_database_scrape_success{reading="${reading}"}`)).toBe(1);
    }
    expect(now.value('nodejs_eventloop_lag_p99_seconds')).toBeGreaterThan(0);
    expect(now.value('process_resident_memory_bytes')).toBeGreaterThan(0);
  });

  test('and names no user', async () => {
    const ids = await world.sql<{ id: string }>(
      `SELECT account_id AS id FROM webhook_events UNION SELECT request_id::text FROM webhook_events
       UNION SELECT account_id FROM ring_tokens WHERE account_id IS NOT NULL UNION SELECT id::text FROM ring_tokens
       UNION SELECT id::text FROM account_links UNION SELECT account_identifier FROM account_links
       UNION SELECT id FROM devices UNION SELECT name FROM devices WHERE name IS NOT NULL
       UNION SELECT email FROM users UNION SELECT id::text FROM users UNION SELECT id::text FROM live_views
       UNION SELECT id::text FROM snapshots UNION SELECT sid FROM sessions`,
    );
    const { text } = await look();

    expect(ids.length).toBeGreaterThan(25);
    expect(ids.filter(({ id }) => text.includes(id))).toEqual([]);
    // The database has erased them, and the metrics do not name them either.
    expect(text).not.toMatch(/@|ava1|sim-|[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{32}/);
  });
});

describe('labels', () => {
  test('count no delivery whose sender hangs up in the middle', async () => {
    const before = await look();
    let delivery: IncomingMessage | undefined;
    const onRequest = (message: unknown) => ({ request: delivery } = message as { request: IncomingMessage });
    subscribe('http.server.request.start', onRequest);
    const socket = connect(Number(new URL(world.url).port), 'localhost');
    socket.write('POST /webhooks/ring HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"meta":');
    await until('it has begun', () => Promise.resolve(delivery !== undefined));
    unsubscribe('http.server.request.start', onRequest);
    socket.destroy();
    await until('the service has noticed', () => Promise.resolve(delivery?.destroyed));

    const series = 'ring_link_webhooks_received_total{outcome="malformed",type="unknown"}';
    expect((await look()).count(series)).toBe(before.count(series));
  });

  test('do not grow with the requests that are sent to us', async () => {
    const ringUser = await world.ring.createUser();
    const types = fc.sample(fc.stringMatching(/^[\x21-\x7e]{1,40}$/), { numRuns: 60, seed: 1 });
    const before = await look();

    for (const type of [...types, 'constructor', '__proto__', 'toString', 'unknown', 'x"}', 'MOTION_DETECTED']) {
      const body = JSON.stringify({
        meta: {
          version: '1.1',
          time: '2026-01-01T00:00:00Z',
          request_id: randomUUID(),
          account_id: ringUser.account_id,
        },
        data: { id: 'an-event', type, attributes: {} },
      });
      const response = await fetch(`${world.url}/webhooks/ring`, { method: 'POST', body, headers: signed(body) });
      expect(response.status).toBe(200);
    }

    const after = await look();
    const name = 'ring_link_webhooks_received_total';
    expect(after.count(`${name}{outcome="stored",type="unknown"}`)).toBe(
      before.count(`${name}{outcome="stored",type="unknown"}`) + types.length + 6,
    );
    expect(after.labelValues(name, 'type')).toEqual(new Set([...EVENT_TYPES, 'unknown']));
    expect(after.size).toBe(before.size);
  });

  test('do not grow with the devices that Ring is asked about', async () => {
    await sharing(world);
    const endpoints = (await look()).labelValues('ring_link_ring_requests_total', 'endpoint');

    expect(endpoints).toContain('GET /v1/devices');
    expect([...endpoints].filter((endpoint) => !(ENDPOINTS as readonly string[]).includes(endpoint))).toEqual([]);
  });
});

describe('the bearer token', () => {
  const ask = (authorization?: string, method = 'GET') =>
    fetch(`${world.url}/metrics`, { method, headers: { ...(authorization !== undefined && { authorization }) } });

  test.each([undefined, '', 'Bearer', `Bearer ${TOKEN}x`, 'Bearer a', `Basic ${TOKEN}`, TOKEN])(
    'is asked for: %s gets 401',
    async (authorization) => {
      const response = await ask(authorization);

      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toBe('Bearer realm="metrics"');
      expect(response.headers.get('content-type')).toContain('application/problem+json');
      expect(await response.json()).toMatchObject({ title: 'Unauthorized', status: 401 });
      expect(response.headers.get('set-cookie')).toBeNull();
    },
  );

  test('opens the door', async () => {
    const response = await ask(`Bearer ${TOKEN}`);

    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('set-cookie')).toBeNull();
    expect((await ask(`bearer ${TOKEN}`)).status).toBe(200);
  });

  test('is not asked for when none is configured', async () => {
    const open = await startWorld({ databaseUrl: world.databaseUrl });
    try {
      expect((await scrape(open.url)).value('ring_link_ready{check="database"}')).toBe(1);
      expect((await send(open.url, '/metrics', { method: 'POST' })).status).toBe(405);
    } finally {
      await open.stop();
    }
  });

  test('lets any number of scrapes through, and they do not wait for each other', async () => {
    const strict = await startWorld({ databaseUrl: world.databaseUrl, environment: { RATE_LIMIT_SCALE: '0.001' } });
    try {
      const answers = await Promise.all(Array.from({ length: 50 }, () => scrape(strict.url)));
      expect(answers.every((one) => one.value('ring_link_database_scrape_success{reading="backlog"}') === 1)).toBe(
        true,
      );
    } finally {
      await strict.stop();
    }
  });
});

describe('when the database is in trouble, /metrics answers all the same', () => {
  test('when it is away, and leaves out what it can’t know', async () => {
    const postgres = await startOwnPostgres();
    const alone = await startWorld({ databaseUrl: postgres.url, scrapeLimitMs: 1_500 });
    try {
      expect((await scrape(alone.url)).value('ring_link_unclaimed_pairs')).toBe(0);
      await postgres.stop();

      const away = await scrape(alone.url);
      expect(away.value('ring_link_database_scrape_success{reading="backlog"}')).toBe(0);
      expect(away.value('ring_link_database_scrape_success{reading="queue"}')).toBe(0);
      expect(away.value('ring_link_ready{check="database"}')).toBe(0);
      expect(away.value('ring_link_ready{check="accepting"}')).toBe(1);
      for (const absent of [
        'unclaimed_pairs',
        'webhook_failed_events',
        'jobs_failing',
        'jobs_oldest_due_age_seconds',
      ]) {
        expect(away.value(`ring_link_${absent}`)).toBeUndefined();
      }
      expect(away.value('ring_link_token_exchanges_total{outcome="STORED"}')).toBe(0);
      expect(away.value('ring_link_links{status="COMPLETED"}')).toBeUndefined();
      expect(away.value('ring_link_database_scrape_success{reading="census"}')).toBe(0);
      expect(alone.log.some((line) => line.includes('metrics could not be read'))).toBe(true);

      const body = webhook('motion_detected');
      await fetch(`${alone.url}/webhooks/ring`, { method: 'POST', body, headers: signed(body) });
      const series = 'ring_link_webhooks_received_total{outcome="unavailable",type="unknown"}';
      expect((await scrape(alone.url)).value(series)).toBe(1);

      await postgres.restart();
      await until('all is read again', async () => {
        const back = await scrape(alone.url);
        return back.value('ring_link_unclaimed_pairs') === 0 && back.value('ring_link_ready{check="queue"}') === 1;
      });
    } finally {
      await alone.stop();
      await postgres.remove();
    }
  });

  test('when it does not let us read, and its other work goes on', async () => {
    const held = await startWorld({ scrapeLimitMs: 1_500 });
    const other = new pg.Client({ connectionString: held.databaseUrl });
    await other.connect();
    try {
      await other.query('BEGIN; LOCK TABLE account_links IN ACCESS EXCLUSIVE MODE');
      const found = await scrape(held.url);
      expect(found.value('ring_link_database_scrape_success{reading="backlog"}')).toBe(0);
      expect(found.value('ring_link_unclaimed_pairs')).toBeUndefined();
      expect(found.value('ring_link_database_connections{pool="metrics",state="in_use"}')).toBeDefined();
      await other.query('ROLLBACK');
      await until('it is read', async () => (await scrape(held.url)).value('ring_link_unclaimed_pairs') === 0);
    } finally {
      await other.end();
      await held.stop();
    }
  });
});

test('scrapes that come while one is under way get the result of that one', async () => {
  const held = await startWorld({ scrapeLimitMs: WAIT_LIMIT_MS });
  const release = await holdLock(held, 'LOCK TABLE account_links IN ACCESS EXCLUSIVE MODE');
  let arrived = 0;
  const onRequest = (message: unknown) => {
    if ((message as { request: IncomingMessage }).request.url === '/metrics') arrived += 1;
  };
  subscribe('http.server.request.start', onRequest);
  try {
    const underWay = Array.from({ length: 50 }, async () => {
      const response = await fetch(`${held.url}/metrics`);
      return { status: response.status, text: await response.text() };
    });
    await until('all have come', () => Promise.resolve(arrived === underWay.length));
    await release();
    const answers = await Promise.all(underWay);

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    // The time that the process has used differs at each look.
    expect(answers[0]?.text).toMatch(/^process_cpu_seconds_total /m);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  } finally {
    unsubscribe('http.server.request.start', onRequest);
    await release();
    await held.stop();
  }
});

function webhook(type: string): string {
  return JSON.stringify({
    meta: { version: '1.1', time: new Date().toISOString(), request_id: randomUUID(), account_id: 'an-account' },
    data: {
      id: 'an-event',
      type,
      attributes: { source: 'a-device', source_type: 'devices', timestamp: Date.now() },
    },
  });
}

function signed(body: string): Record<string, string> {
  const hmac = createHmac('sha256', HMAC_KEY).update(body).digest('hex');
  return { 'content-type': 'application/json', 'x-signature': `sha256=${hmac}` };
}
