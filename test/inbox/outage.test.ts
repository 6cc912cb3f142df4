import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { untilProcessed } from '../support/features/inbox.js';
import { linked } from '../support/features/linking.js';
import { until } from '../support/waiting/until.js';
import { type OwnPostgres, startOwnPostgres } from '../support/worlds/postgres.js';
import { createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import type { Delivery, RingUser } from '../support/worlds/ring.js';

const EVENTS = 12;

let postgres: OwnPostgres;
let world: ProcessWorld;
let ringUser: RingUser;

beforeAll(async () => {
  postgres = await startOwnPostgres();
  world = await createProcessWorld({ databaseUrl: postgres.url });
  await world.startApp();
  ({ ringUser } = await linked(world));
});
afterAll(async () => {
  await world.stop();
  await postgres.remove();
});

/** Ring sends events, and goes on trying by itself. */
async function send(): Promise<Set<string>> {
  const wish = { user_id: ringUser.id, type: 'button_press', wait: false };
  const sent = await Promise.all(Array.from({ length: EVENTS }, () => world.ring.sendEvent(wish)));
  return new Set(sent.map(({ request_id }) => request_id));
}

/** Waits until each of these deliveries has come so far. */
function untilEach(
  what: string,
  sent: ReadonlySet<string>,
  condition: (delivery: Delivery) => boolean,
): Promise<Delivery[]> {
  return until(what, async () => {
    const deliveries = (await world.ring.deliveries()).filter(({ request_id }) => sent.has(request_id));
    return deliveries.length === sent.size && deliveries.every(condition) && deliveries;
  });
}

/** All attempts but the last. Status null would mean that Ring gave up waiting after its five seconds. */
const failuresOf = (deliveries: Delivery[]) => [
  ...new Set(deliveries.flatMap(({ attempts }) => attempts.slice(0, -1).map(({ status }) => status))),
];

async function expectAppliedOnce(sent: ReadonlySet<string>): Promise<void> {
  await untilProcessed(world, ringUser);
  for (const table of ['webhook_events', 'device_events']) {
    const found = await world.sql<{ request_id: string }>(
      `SELECT request_id FROM ${table} WHERE request_id = ANY ($1::uuid[])`,
      [[...sent]],
    );
    expect(new Set(found.map(({ request_id }) => request_id))).toEqual(sent);
  }
}

describe('while the database is away', () => {
  test('Ring is told so in time, and what it delivers again afterwards is stored and applied', async () => {
    // The first three retries are over after nine seconds; the next comes three seconds later.
    await world.ring.setSettings({ webhookSpeed: 4 });
    await postgres.stop();
    const sent = await send();
    await untilEach('three attempts have failed', sent, ({ attempts }) => attempts.length >= 3);
    await world.ring.setSettings({ webhookSpeed: 40 });
    await untilEach('four attempts have failed', sent, ({ attempts }) => attempts.length >= 4);
    await postgres.restart();

    const delivered = await untilEach('it is delivered', sent, ({ state }) => state === 'delivered');
    expect(failuresOf(delivered)).toEqual([503]);
    await expectAppliedOnce(sent);
  });
});

describe('while the database is frozen', () => {
  test('Ring is told so before it hangs up, and what it delivers again afterwards is stored and applied', async () => {
    await world.ring.setSettings({ webhookSpeed: 10 });
    const frozen = await freeze();
    let sent: Set<string>;
    try {
      sent = await send();
      await untilEach('two attempts have failed', sent, ({ attempts }) => attempts.length >= 2);
    } finally {
      signal(frozen, 'SIGCONT');
    }

    const delivered = await untilEach('it is delivered', sent, ({ state }) => state === 'delivered');
    expect(failuresOf(delivered)).toEqual([503]);
    await expectAppliedOnce(sent);
  });
});

/** Stops the processes of Postgres: connections stay open, but get no answers. Returns the processes. */
async function freeze(): Promise<number[]> {
  const [row] = await world.sql<{ pid_file: string; backends: number[] }>(
    `SELECT pg_read_file('postmaster.pid') AS pid_file, (SELECT array_agg(pid) FROM pg_stat_activity) AS backends`,
  );
  const postmaster = Number.parseInt(row?.pid_file ?? '', 10);
  const processes = [postmaster, ...(row?.backends ?? [])];
  signal(processes, 'SIGSTOP');
  return processes;
}

function signal(processes: number[], name: NodeJS.Signals): void {
  for (const pid of processes) process.kill(pid, name);
}
