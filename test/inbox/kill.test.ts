import { Agent } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { linked } from '../support/features/linking.js';
import { until } from '../support/waiting/until.js';
import { type OwnPostgres, startOwnPostgres } from '../support/worlds/postgres.js';
import { createProcessWorld, isReady, type ProcessWorld } from '../support/worlds/process.js';
import type { RingUser } from '../support/worlds/ring.js';

const CONNECTIONS = 24;
/** At this level the log is short. Otherwise every answer would be a line, and a 503 a long one. */
const QUIET = { LOG_LEVEL: 'fatal' };

let postgres: OwnPostgres;
let world: ProcessWorld;
let ringUser: RingUser;
let load: Load;

beforeAll(async () => {
  // This Postgres flushes to disk, as the shared one does not.
  postgres = await startOwnPostgres();
  world = await createProcessWorld({ databaseUrl: postgres.url });
});
beforeEach(() => {
  load = new Load();
});
afterEach(() => load.stop());
afterAll(async () => {
  await world.stop();
  await postgres.remove();
});

/** A load of signed events on many connections. On each connection the next event follows the answer to the last. */
class Load {
  /** The IDs of events that were answered 200, by connection and in the order of the answers. */
  readonly stored: string[][] = [];
  /** The number of answers of each status, and of requests that ended without one. */
  readonly statuses = new Map<number | 'none', number>();
  #connections: Promise<void>[] = [];
  #isStopped = false;

  start(accountId: string): void {
    this.#connections = Array.from({ length: CONNECTIONS }, () => this.#connection(accountId));
  }

  count(status: number | 'none'): number {
    return this.statuses.get(status) ?? 0;
  }

  /** Waits for so many answers of a status from now on. */
  async until(status: number | 'none', more: number): Promise<void> {
    const enough = this.count(status) + more;
    await until(`${more} times ${status}`, () => Promise.resolve(this.count(status) >= enough));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#connections);
  }

  async #connection(accountId: string): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const stored: string[] = [];
    this.stored.push(stored);
    while (!this.#isStopped) {
      const event = newEvent({ accountId });
      const answer = await deliver(world.url, JSON.stringify(event), {
        key: world.environment.RING_HMAC_KEY ?? '',
        agent,
      }).catch(() => undefined);
      const status = answer?.status ?? 'none';
      this.statuses.set(status, this.count(status) + 1);
      if (status === 200) stored.push(event.meta.request_id);
      // The server is down, so there is no need to hurry.
      if (status === 'none') await new Promise((resolve) => setTimeout(resolve, 20));
    }
    agent.destroy();
  }
}

async function expectEverythingThere(): Promise<void> {
  const rows = await world.sql<Pick<Tables['webhook_events'], 'request_id'>>(
    'SELECT request_id FROM webhook_events ORDER BY id',
  );
  const order = new Map(rows.map(({ request_id }, index) => [request_id, index]));
  expect(load.stored.flat().filter((requestId) => !order.has(requestId))).toEqual([]);
  // An event that was answered before the next one was sent has also arrived before it.
  for (const stored of load.stored) {
    const positions = stored.map((requestId) => order.get(requestId) ?? -1);
    expect(positions).toEqual([...positions].sort((a, b) => a - b));
  }
}

/** Expects each event to be applied once and in the order of arrival, also if a killed process began with it. */
async function expectEverythingApplied(): Promise<void> {
  await until(
    'everything is applied',
    async () => (await world.sql(`SELECT 1 FROM webhook_events WHERE status <> 'PROCESSED' LIMIT 1`)).length === 0,
  );
  const [found] = await world.sql<{ arrived: string[]; applied: string[] }>(
    `SELECT (SELECT array_agg(request_id::text ORDER BY id) FROM webhook_events) AS arrived,
            (SELECT array_agg(request_id::text ORDER BY number) FROM applied) AS applied`,
  );
  expect(found?.applied).toEqual(found?.arrived);
}

describe('every event that was answered 200 under load', () => {
  beforeAll(async () => {
    const app = await world.startApp(QUIET);
    ({ ringUser } = await linked(world));
    // Applied events are numbered. A transaction that fails takes its numbers back with it.
    await world.sql('CREATE TABLE applied (number serial, request_id uuid)');
    await world.sql(`
      CREATE FUNCTION note_event() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO applied (request_id) VALUES (NEW.request_id);
        RETURN NEW;
      END $$`);
    await world.sql(
      'CREATE TRIGGER note_event BEFORE INSERT ON device_events FOR EACH ROW EXECUTE FUNCTION note_event()',
    );
    app.kill('SIGTERM');
    await app.ended;
  });

  test.each([350, 800])('is there after the app was killed at %d, and is applied when it runs again', async (at) => {
    const app = await world.startApp(QUIET);
    load.start(ringUser.account_id);
    await load.until(200, at);
    app.kill('SIGKILL');
    await app.ended;
    await load.stop();

    // The requests under way at that moment got no answer, after which Ring delivers again.
    expect([...load.statuses.keys()].sort()).toEqual([200, 'none']);
    await expectEverythingThere();

    const next = await world.startApp(QUIET);
    await expectEverythingApplied();
    next.kill('SIGKILL');
    await next.ended;
  });

  test('is there after Postgres was killed; the app stays, answers 503 meanwhile, and recovers by itself', async () => {
    const app = await world.startApp(QUIET);
    load.start(ringUser.account_id);
    await load.until(200, 500);
    await postgres.kill9();
    await load.until(503, 50);
    await postgres.restart();
    await load.until(200, 300);
    await load.stop();

    // There is never a 4xx, after which Ring would drop the event, and always an answer.
    expect([...load.statuses.keys()].sort()).toEqual([200, 503]);
    expect(app.hasEnded()).toBe(false);
    await expectEverythingThere();
    await isReady(app, world.url);
    await expectEverythingApplied();
  });
});
