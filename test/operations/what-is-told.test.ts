import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sharing } from '../support/features/devices.js';
import { arriving, installed, linked, once } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { HOUR, WRONG_BODIES } from '../support/features/tokens.js';
import { scrape } from '../support/inspection/metrics.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { startWorld, TestClock, type World } from '../support/worlds/world.js';

describe('an answer of Ring’s that makes no sense', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  const CALLS = 'ring_link_ring_requests_total';

  test.each(WRONG_BODIES)('(%s) is not counted among the good ones', async (_what, fault) => {
    const DEVICES = `${CALLS}{endpoint="GET /v1/devices",status=`;
    const before = await scrape(world.url);
    await world.ring.setFaults([once('devices', fault)]);

    await linked(world);
    await untilJobsAreDone(world);

    const after = await scrape(world.url);
    // The first attempt, and the one that succeeded.
    expect(after.count(`${DEVICES}"malformed"}`) - before.count(`${DEVICES}"malformed"}`)).toBe(1);
    expect(after.count(`${DEVICES}"200"}`) - before.count(`${DEVICES}"200"}`)).toBe(1);
  });

  test('to a user who opens a live view is told in log and metrics', async () => {
    const WHEP = `${CALLS}{endpoint="POST /v1/devices/{id}/media/streaming/whep/sessions",status="malformed"}`;
    const owner = await sharing(world);
    const [[, fault] = ['', { kind: 'reset' }]] = WRONG_BODIES;
    const [before, from] = [(await scrape(world.url)).count(WHEP), world.log.length];
    await world.ring.setFaults([once('whep-post', fault)]);

    expect((await openLiveView(world.url, owner)).status).toBe(502);

    expect((await scrape(world.url)).count(WHEP) - before).toBe(1);
    expect(world.log.slice(from).join('')).toContain('malformed');
  });
});

describe('a clock that is an hour off', () => {
  /** The true time, which is Ring's. */
  const truth = new TestClock();
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ ringNow: () => truth.now().getTime() });
  });
  afterAll(() => world.stop());

  test.each([
    ['ahead', HOUR, 'expired'],
    ['behind', -HOUR, 'from-the-future'],
  ])('(%s) turns away all users from Ring, and log and metrics tell so', async (_where, seconds, outcome) => {
    const ringUser = await installed(world);
    const [before, from] = [await turnedAway(outcome), world.log.length];
    world.clock.advance(seconds);
    try {
      const visitor = await arriving(world, ringUser);

      expect(visitor.page.status).toBe(400);
      expect((await turnedAway(outcome)) - before).toBe(1);
      expect(world.log.slice(from).join('')).toContain(outcome);
    } finally {
      world.clock.advance(-seconds);
    }
  });

  /** The number of users who were turned away with this outcome, from the series that counts it. */
  async function turnedAway(outcome: string): Promise<number> {
    const { text } = await scrape(world.url);
    const lines = text.split('\n').filter((line) => line.includes(`outcome="${outcome}"`));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }
});
