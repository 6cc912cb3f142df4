import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { send } from '../support/clients/http.js';
import { newEvent, post, sign } from '../support/clients/webhooks.js';
import { linked } from '../support/features/linking.js';
import { scrape } from '../support/inspection/metrics.js';
import { startWorld, TestClock, type World, type WorldOptions } from '../support/worlds/world.js';

const METRICS_TOKEN = 'a-token-for-metrics';
const PRODUCTION = {
  NODE_ENV: 'production',
  RING_SIMULATOR: 'off',
  PUBLIC_URL: 'https://link.example.com',
  TRUST_PROXY: '1',
  METRICS_TOKEN,
};

let world: World;
afterEach(() => world.stop());

async function begin(options: WorldOptions = {}): Promise<void> {
  world = await startWorld(options);
}

/** What `/readyz` warns of. It says that it is ready all the same. */
async function warnings(): Promise<string[]> {
  const { status, text } = await send(world.url, '/readyz');
  expect(status).toBe(200);
  return (JSON.parse(text) as { warnings?: string[] }).warnings ?? [];
}

/** The errors in the log that are about the set-up. */
const errors = (): string[] => world.log.filter((line) => line.includes('"level":50') && line.includes('"problem":'));

async function isProblem(problem: string): Promise<boolean> {
  const metrics = await scrape(world.url, METRICS_TOKEN);
  return metrics.value(`ring_link_set_up_problem{problem="${problem}"}`) === 1;
}

/** Expects the one problem in the log, in the metric and in `/readyz`, with the word that leads to its remedy. */
async function expectProblem(problem: string, word: string): Promise<void> {
  expect(await warnings()).toEqual([expect.stringMatching(new RegExp(`${word}.*expected `))]);
  expect(errors()).toHaveLength(1);
  expect(errors()[0]).toContain(`"problem":"${problem}"`);
  expect(await isProblem(problem)).toBe(true);
}

async function expectNoProblem(): Promise<void> {
  expect(await warnings()).toEqual([]);
  for (const problem of ['forwarded_proto', 'forwarded_for', 'webhook_signatures', 'ring_clock']) {
    expect(await isProblem(problem)).toBe(false);
  }
}

const visit = (headers: Record<string, string>) => send(world.url, '/ring/home', { headers });
const HTTPS = { 'x-forwarded-proto': 'https' };

describe('in production, a proxy that does not say https', () => {
  beforeEach(() => begin({ environment: PRODUCTION }));

  test.each<[string, Record<string, string>]>([
    ['says nothing', {}],
    ['says http', { 'x-forwarded-proto': 'http' }],
  ])('is told of once, however many come, and until one comes right (it %s)', async (_how, headers) => {
    await expectNoProblem();

    for (let times = 0; times < 5; times++) await visit(headers);
    await expectProblem('forwarded_proto', 'X-Forwarded-Proto');

    await visit(HTTPS);
    await expectNoProblem();
    expect(errors()).toHaveLength(1);
  });

  test('is another thing than a stranger among visitors, or a load balancer that asks how we are', async () => {
    for (let times = 0; times < 3; times++) await visit({ 'user-agent': 'ELB-HealthChecker/2.0' });
    for (const path of ['/livez', '/readyz', '/metrics']) await send(world.url, path);
    await visit(HTTPS);
    for (let times = 0; times < 10; times++) await visit({});

    await expectNoProblem();
    expect(errors()).toEqual([]);
  });

  test('may come later, when a proxy is changed', async () => {
    await visit(HTTPS);
    for (let times = 0; times < 25; times++) await visit({});
    await expectProblem('forwarded_proto', 'X-Forwarded-Proto');
  });
});

describe('X-Forwarded-For of a proxy', () => {
  const forwarded = { ...HTTPS, 'x-forwarded-for': '203.0.113.8' };
  /** As behind two proxies, of which the inner one is the one that calls us. */
  const forwardedTwice = { ...HTTPS, 'x-forwarded-for': '203.0.113.8, 10.0.0.7' };

  test.each([
    ['there is said to be none', '0'],
    ['it is not among the addresses', '10.0.0.0/8'],
  ])('that nobody trusts, because %s, is told of once', async (_why, TRUST_PROXY) => {
    await begin({ environment: { ...PRODUCTION, TRUST_PROXY } });
    for (let times = 0; times < 5; times++) await visit(forwarded);
    await expectProblem('forwarded_for', 'TRUST_PROXY');
  });

  test('of which there is another one than is said is told of', async () => {
    await begin({ environment: PRODUCTION });
    await visit(forwardedTwice);
    await expectProblem('forwarded_for', 'TRUST_PROXY');
  });

  test('of which there are as many as is said is as it should be', async () => {
    await begin({ environment: { ...PRODUCTION, TRUST_PROXY: '2' } });
    await visit(forwardedTwice);
    await expectNoProblem();
  });

  test.each(['1', 'loopback'])('that is trusted (TRUST_PROXY=%s) is as it should be', async (TRUST_PROXY) => {
    await begin({ environment: { ...PRODUCTION, TRUST_PROXY } });
    await visit(forwarded);
    await expectNoProblem();
  });
});

describe('webhooks', () => {
  beforeEach(() => begin({ environment: { METRICS_TOKEN } }));

  const deliver = (key?: string) => {
    const body = JSON.stringify(newEvent());
    return post(world.url, { body, headers: { 'x-signature': sign(body, key) } });
  };
  const wrongKey = randomBytes(16).toString('hex');

  test('of which none has a good signature are told of once, until one has', async () => {
    for (let times = 0; times < 5; times++) expect((await deliver(wrongKey)).status).toBe(401);
    await expectProblem('webhook_signatures', 'RING_HMAC_KEY');

    expect((await deliver()).status).toBe(200);
    await expectNoProblem();
  });

  test('of strangers among those of Ring’s are no problem of the set-up', async () => {
    await deliver();
    for (let times = 0; times < 10; times++) await deliver(wrongKey);
    await expectNoProblem();
  });
});

describe('Ring’s clock', () => {
  test.each([
    ['ahead', 60],
    ['behind', -60],
  ])('a minute %s of ours is told of once, and over when both agree', async (_where, seconds) => {
    let difference = seconds;
    // Ring looks at its clock before there is a world.
    const clock = new TestClock();
    await begin({ environment: { METRICS_TOKEN }, ringNow: () => clock.now().getTime() + difference * 1_000 });
    clock.advance((world.clock.now().getTime() - clock.now().getTime()) / 1_000);
    const ringUser = await world.ring.createUser();
    await world.ring.install(ringUser);
    await expectProblem('ring_clock', 'the clock: ');

    difference = 0;
    await world.ring.install(await world.ring.createUser());
    await expectNoProblem();
    expect(errors()).toHaveLength(1);
  });

  test('that is ours, to a second, is as it should be', async () => {
    await begin({ environment: { METRICS_TOKEN } });
    await linked(world);
    await expectNoProblem();
  });
});
