import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { send } from '../support/clients/http.js';
import { scrape } from '../support/inspection/metrics.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** The number of refused codes after which a network is stopped, for ten minutes. */
const REFUSED = 5;

let world: World;
beforeAll(async () => {
  world = await startWorld({ environment: { RATE_LIMIT_SCALE: '1', TRUST_PROXY: '1' } });
});
beforeEach(async () => {
  await world.sql('DELETE FROM rate_limits');
  await world.sql('DELETE FROM token_exchanges');
});
afterAll(() => world.stop());

let addresses = 0;
/** An address that has not been used before. The app remembers for a while what it knows of one. */
const newAddress = (): string => `203.0.113.${(addresses += 1)}`;

let codes = 0;
const junk = (): string => `junk-${(codes += 1)}`;

async function deliver(address: string, code = junk(), origin = world.url): Promise<number> {
  const headers = { 'x-forwarded-for': address };
  return (await send(origin, '/ring/token', { headers, form: { code } })).status;
}

async function realCode(): Promise<string> {
  const { code } = await world.ring.issueCode(await world.ring.createUser());
  return code;
}

const exchanges = async (): Promise<number> =>
  (await world.ring.requests()).filter(({ path }) => path === '/oauth/token').length;

const remembered = async (): Promise<number> => (await world.sql('SELECT 1 FROM token_exchanges')).length;

const times = <Value>(count: number, one: (at: number) => Promise<Value>): Promise<Value[]> =>
  Promise.all(Array.from({ length: count }, (_, at) => one(at)));

const countOf = (statuses: number[], status: number): number => statuses.filter((one) => one === status).length;

describe('an address whose codes Ring refuses', () => {
  test('is stopped early, however they come, and learns for how long', async () => {
    const before = await exchanges();
    const own = newAddress();
    for (let count = 0; count < REFUSED; count += 1) expect(await deliver(`${own}:${40_000 + count}`)).toBe(400);

    for (const address of [own, `${own}:40001`, `${own}:40002`, `::ffff:${own}`]) {
      const answer = await send(world.url, '/ring/token', {
        headers: { 'x-forwarded-for': address },
        form: { code: junk() },
      });
      expect(answer.status).toBe(429);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(await exchanges()).toBe(before + REFUSED);
    expect(await deliver(newAddress())).toBe(400);
  });

  test('is stopped as early when all of them come at once, over two instances', async () => {
    const other = await world.startAnother();
    const origins = [world.url, `http://localhost:${other.port}`];
    const before = await exchanges();
    const address = newAddress();

    const statuses = await times(40, (at) => deliver(address, junk(), origins[at % 2]));

    expect(countOf(statuses, 400)).toBe(REFUSED);
    expect(await exchanges()).toBe(before + REFUSED);
  });

  test('is stopped although each code comes from another address of its IPv6 network', async () => {
    const before = await exchanges();
    const statuses = await times(20, (at) => deliver(`2001:db8:1:2::${(at + 1).toString(16)}`));

    expect(countOf(statuses, 400)).toBe(REFUSED);
    expect(await exchanges()).toBe(before + REFUSED);
  });

  test('goes on where the code is good: good ones do not count', async () => {
    const address = newAddress();
    for (let count = 0; count < REFUSED + 2; count += 1) expect(await deliver(address, await realCode())).toBe(200);
  });

  test('waits with its next codes while five are with Ring, and goes on when these were good', async () => {
    const address = newAddress();
    const real = await Promise.all(Array.from({ length: REFUSED + 3 }, realCode));
    await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'hold' } }]);
    const answers = times(real.length, (at) => deliver(address, real[at]));
    await until('five are with Ring', async () => (await remembered()) === REFUSED);
    await world.ring.release();

    expect(new Set(await answers)).toEqual(new Set([200]));
  });

  test('is Ring’s, and goes on, when Ring has taken one of its codes before', async () => {
    const address = newAddress();
    expect(await deliver(address, await realCode())).toBe(200);
    for (let count = 0; count < 3 * REFUSED; count += 1) expect(await deliver(address)).toBe(400);

    expect(await deliver(address, await realCode())).toBe(200);
  });

  test('may send the same bad code as often as it likes: Ring is asked once', async () => {
    const address = newAddress();
    const code = junk();
    const before = await exchanges();
    const statuses = [...(await times(10, () => deliver(address, code))), await deliver(address, code)];

    expect(new Set(statuses)).toEqual(new Set([400]));
    expect(await exchanges()).toBe(before + 1);
  });
});

describe('a flood of junk from many addresses', () => {
  test('costs few calls to Ring, and real codes get through, also from an address that Ring has not used before', async () => {
    const address = newAddress();
    const before = await exchanges();
    const real = await Promise.all(Array.from({ length: 6 }, realCode));
    const flood = times(960, (at) => deliver(`198.51.100.${at % 16}`));

    const first = await deliver(address, real[0]);
    const others = await Promise.all(real.slice(1).map((code) => deliver(address, code)));

    expect([first, ...others]).toEqual(Array(6).fill(200));
    const statuses = await flood;
    expect(countOf(statuses, 400)).toBeLessThanOrEqual(16 * REFUSED);
    expect(countOf(statuses, 200)).toBe(0);
    expect(await exchanges()).toBeLessThanOrEqual(before + 16 * REFUSED + 6);
  });

  test('asks Ring no more than ten times a second', async () => {
    const asked = async () => (await world.ring.requests()).filter(({ path }) => path === '/oauth/token');
    const before = (await asked()).length;
    const startedAt = performance.now();
    await times(60, (at) => deliver(`192.0.2.${at % 12}`));
    const seconds = (performance.now() - startedAt) / 1_000;

    const count = (await asked()).length - before;
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThanOrEqual(10 * (Math.floor(seconds) + 2));
  });

  test('leaves no row behind for long', async () => {
    const address = newAddress();
    await times(20, (at) => deliver(`192.0.2.${100 + (at % 4)}`));
    expect(await deliver(address, await realCode())).toBe(200);
    expect(await remembered()).toBeGreaterThan(1);

    world.clock.advance(6 * 60);
    await tick('forget old code exchanges');

    await until('only the good one is remembered', async () => (await remembered()) === 1);
  });

  test('is counted, and is no failure of exchanges', async () => {
    const address = newAddress();
    const of = async (outcome: string) =>
      (await scrape(world.url)).count(`ring_link_token_exchanges_total{outcome="${outcome}"}`);
    const outcomes = ['TURNED_AWAY', 'NOT_SENT', 'FAILED', 'UNCERTAIN', 'MISCONFIGURED', 'LOST'];
    const before = await Promise.all(outcomes.map(of));
    for (let count = 0; count < REFUSED + 3; count += 1) await deliver(address);

    const after = await Promise.all(outcomes.map(of));
    expect(after.map((count, at) => Number(count) - Number(before[at]))).toEqual([3, 0, 0, 0, 0, 0]);
  });
});
