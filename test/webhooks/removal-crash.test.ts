import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { until } from '../support/waiting/until.js';
import { createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import type { RingUser } from '../support/worlds/ring.js';

/**
 * One kill for all places: for each place in the course of a removal there is an account for which Postgres is slow
 * there. When all of them have got there, the process is killed; then it starts again.
 */

interface Place {
  event: 'device_removed' | 'app_integration_removed';
  where: string;
  /** The statement at which Postgres is slow. */
  slow: { timing: 'BEFORE' | 'AFTER'; action: 'INSERT' | 'UPDATE' | 'DELETE'; table: string };
}

const PLACES: readonly Place[] = [
  {
    event: 'device_removed',
    where: 'before the archive is written',
    slow: { timing: 'BEFORE', action: 'INSERT', table: 'audit_archive' },
  },
  {
    event: 'device_removed',
    where: 'between archive and erasure',
    slow: { timing: 'AFTER', action: 'INSERT', table: 'audit_archive' },
  },
  {
    event: 'device_removed',
    where: 'while events are erased',
    slow: { timing: 'AFTER', action: 'DELETE', table: 'device_events' },
  },
  {
    event: 'device_removed',
    where: 'when all is erased and the event not marked as applied',
    slow: { timing: 'AFTER', action: 'UPDATE', table: 'devices' },
  },
  {
    event: 'app_integration_removed',
    where: 'between archive and erasure',
    slow: { timing: 'AFTER', action: 'INSERT', table: 'audit_archive' },
  },
  {
    event: 'app_integration_removed',
    where: 'between the devices and the link',
    slow: { timing: 'AFTER', action: 'DELETE', table: 'devices' },
  },
  {
    event: 'app_integration_removed',
    where: 'between the link and its tokens',
    slow: { timing: 'AFTER', action: 'UPDATE', table: 'account_links' },
  },
];

interface Victim extends Place {
  ringUser: RingUser;
  deviceId: string;
}

let world: ProcessWorld;
let victims: Victim[];
/** The rows of each victim when the process was dead. */
let afterKill: Map<Victim, Held>;

beforeAll(async () => {
  world = await createProcessWorld();
  const app = await world.startApp();
  victims = [];
  for (const place of PLACES) victims.push({ ...place, ...(await linkWithEvents()) });
  await makeSlow();
  for (const { ringUser, event, deviceId } of victims) {
    await world.ring.sendEvent({ user_id: ringUser.id, type: event, device_id: deviceId });
  }
  await until(
    'every removal has got to its place',
    async () =>
      (await world.sql(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`))
        .length === victims.length,
  );

  app.kill('SIGKILL');
  await app.ended;
  await world.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`,
  );
  await world.sql('DELETE FROM slow_places');
  afterKill = new Map();
  for (const victim of victims) afterKill.set(victim, await heldOf(victim));
  await world.startApp();
});
afterAll(() => world.stop());

describe.each(PLACES)('$event, killed $where', (place) => {
  const victim = (): Victim => {
    const found = victims.find((one) => one.event === place.event && one.where === place.where);
    if (found === undefined) throw new Error('no such victim');
    return found;
  };

  test('has done nothing by halves', () => {
    expect(afterKill.get(victim())).toEqual({
      archived: 0,
      events: 2,
      pending: 1,
      linked: true,
      tokens: 1,
      present: 2,
    });
  });

  test('is done when the process runs again, with one archive row', async () => {
    const isDevice = place.event === 'device_removed';
    await until('the removal is applied', async () => (await heldOf(victim())).pending === 0);

    expect(await heldOf(victim())).toEqual({
      archived: 1,
      events: isDevice ? 1 : 0,
      pending: 0,
      linked: isDevice,
      tokens: isDevice ? 1 : 0,
      present: isDevice ? 1 : 0,
    });
    const [row] = await world.sql<Pick<Tables['audit_archive'], 'counts'>>(
      'SELECT counts FROM audit_archive WHERE account_id = $1',
      [victim().ringUser.account_id],
    );
    expect(row?.counts).toMatchObject({ button_press: isDevice ? 1 : 2 });
  });
});

interface Held {
  archived: number;
  events: number;
  pending: number;
  linked: boolean;
  tokens: number;
  present: number;
}

async function heldOf({ ringUser }: Victim): Promise<Held> {
  const [held] = await world.sql<Held & Record<string, unknown>>(
    `SELECT (SELECT count(*)::int FROM audit_archive WHERE account_id = $1) AS archived,
            (SELECT count(*)::int FROM device_events WHERE account_id = $1) AS events,
            (SELECT count(*)::int FROM webhook_events WHERE account_id = $1 AND status = 'PENDING') AS pending,
            EXISTS (SELECT 1 FROM account_links WHERE account_id = $1 AND status = 'COMPLETED') AS linked,
            (SELECT count(access_token_ciphertext)::int FROM ring_tokens WHERE account_id = $1) AS tokens,
            (SELECT count(*)::int FROM devices WHERE account_id = $1 AND removed_at IS NULL) AS present`,
    [ringUser.account_id],
  );
  if (held === undefined) throw new Error('nothing found');
  return held;
}

/** A linked account with two fetched devices, and one event of each. */
async function linkWithEvents(): Promise<{ ringUser: RingUser; deviceId: string }> {
  const ids = [randomUUID(), randomUUID()];
  const ringUser = await world.ring.createUser({ devices: ids.map((id) => ({ id, name: `Door ${id}` })) });
  await world.ring.install(ringUser);
  const visitor = world.visitor();
  await visitor.open((await world.ring.linkUrl(ringUser)).url);
  const email = `someone.${randomUUID()}@example.com`;
  await visitor.submit('/sign-up', { email, password: 'correct horse battery staple' });
  for (const device_id of ids) {
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'button_press', device_id });
  }
  await until('devices and events are there', async () => {
    const found = await world.sql(
      `SELECT 1 FROM devices JOIN device_events ON device_events.device_id = devices.id WHERE devices.account_id = $1`,
      [ringUser.account_id],
    );
    return found.length === 2;
  });
  return { ringUser, deviceId: ids[0] ?? '' };
}

/** From now on Postgres takes 20 s at each place, for the one account that is listed for it. */
async function makeSlow(): Promise<void> {
  await world.sql('CREATE TABLE slow_places (trigger_name text, account_id text)');
  await world.sql(`
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF EXISTS (SELECT 1 FROM slow_places WHERE trigger_name = TG_NAME
                    AND account_id = coalesce(NEW.account_id, OLD.account_id)) THEN
        PERFORM pg_sleep(20);
      END IF;
      RETURN coalesce(NEW, OLD);
    END $$`);
  const made = new Set<string>();
  for (const { slow, ringUser } of victims) {
    const name = `${slow.timing}_${slow.action}_${slow.table}`.toLowerCase();
    if (!made.has(name)) {
      await world.sql(
        `CREATE TRIGGER ${name} ${slow.timing} ${slow.action} ON ${slow.table} FOR EACH ROW EXECUTE FUNCTION be_slow()`,
      );
    }
    made.add(name);
    await world.sql('INSERT INTO slow_places VALUES ($1, $2)', [name, ringUser.account_id]);
  }
}
