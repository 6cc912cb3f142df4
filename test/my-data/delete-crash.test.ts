import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import type { Visitor } from '../support/clients/visitor.js';
import { untilIdle } from '../support/features/inbox.js';
import { linked, PASSWORD } from '../support/features/linking.js';
import { deleteAccount } from '../support/features/my-data.js';
import { tracesOf } from '../support/inspection/traces.js';
import { until } from '../support/waiting/until.js';
import { createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import type { RingUser } from '../support/worlds/ring.js';

/**
 * One kill for all places: for each place in the course of a deletion there is a user for whom Postgres is slow there.
 * When all of them have got there, the process is killed; then it starts again.
 */

interface Place {
  where: string;
  /** The statement at which Postgres is slow. */
  slow: { timing: 'BEFORE' | 'AFTER'; action: 'INSERT' | 'UPDATE' | 'DELETE'; table: string };
}

const PLACES: readonly Place[] = [
  { where: 'before the audit row is written', slow: { timing: 'BEFORE', action: 'INSERT', table: 'audit_archive' } },
  { where: 'after the audit row is written', slow: { timing: 'AFTER', action: 'INSERT', table: 'audit_archive' } },
  { where: 'when the devices are erased', slow: { timing: 'AFTER', action: 'DELETE', table: 'devices' } },
  { where: 'when the inbox is erased', slow: { timing: 'AFTER', action: 'UPDATE', table: 'webhook_events' } },
  { where: 'between the link and its tokens', slow: { timing: 'AFTER', action: 'DELETE', table: 'account_links' } },
  { where: 'between the tokens and the user', slow: { timing: 'AFTER', action: 'DELETE', table: 'ring_tokens' } },
  { where: 'between the user and the sessions', slow: { timing: 'AFTER', action: 'DELETE', table: 'users' } },
  { where: 'when all is erased and not committed', slow: { timing: 'AFTER', action: 'DELETE', table: 'sessions' } },
];

interface Victim extends Place {
  visitor: Visitor;
  ringUser: RingUser;
  email: string;
  userId: string;
}

let world: ProcessWorld;
let victims: Victim[];
/** The rows of each victim when the process was dead. */
let afterKill: Map<Victim, unknown>;

beforeAll(async () => {
  world = await createProcessWorld();
  const app = await world.startApp();
  victims = [];
  for (const place of PLACES) victims.push({ ...place, ...(await newVictim()) });
  await untilIdle(world);
  for (const victim of victims) expect(await heldOf(victim)).toEqual(WHOLE);
  await makeSlow();
  const deletions = victims.map(({ visitor }) =>
    visitor.submit('/account/delete', { confirmation: 'DELETE', current: PASSWORD }).catch(() => undefined),
  );
  await until(
    'every deletion has got to its place',
    async () =>
      (await world.sql(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`))
        .length === victims.length,
  );

  app.kill('SIGKILL');
  await app.ended;
  await Promise.all(deletions);
  await world.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`,
  );
  await world.sql('DELETE FROM slow_places');
  afterKill = new Map();
  for (const victim of victims) afterKill.set(victim, await heldOf(victim));
  await world.startApp();
});
afterAll(() => world.stop());

describe.each(PLACES)('a deletion, killed $where,', ({ where }) => {
  const victim = (): Victim => {
    const found = victims.find((one) => one.where === where);
    if (found === undefined) throw new Error('no such victim');
    return found;
  };

  test('has done nothing by halves', () => {
    expect(afterKill.get(victim())).toEqual(WHOLE);
  });

  test('is done when it is asked for again, with one audit row', async () => {
    const { visitor, ringUser, email, userId } = victim();

    await deleteAccount(visitor);

    expect(visitor.heading).toBe('Your account is deleted');
    await untilIdle(world);
    expect(await tracesOf(world, ringUser.account_id)).toEqual([]);
    expect(await tracesOf(world, email)).toEqual([]);
    expect(await world.sql('SELECT kind, counts FROM audit_archive WHERE user_id = $1', [userId])).toMatchObject([
      { kind: 'ACCOUNT_DELETED', counts: { account_links: 1, devices: 1, device_events: 1 } },
    ]);
  });
});

const WHOLE = {
  users: 1,
  sessions: 1,
  linked: true,
  tokens: 1,
  devices: 1,
  events: 1,
  bodies: true,
  archived: 0,
};

async function heldOf({ ringUser, userId }: Victim): Promise<unknown> {
  const [held] = await world.sql(
    `SELECT (SELECT count(*)::int FROM users WHERE id = $2::uuid) AS users,
            (SELECT count(*)::int FROM sessions WHERE sess #>> '{passport,user}' = $2::text) AS sessions,
            EXISTS (SELECT 1 FROM account_links WHERE account_id = $1 AND status = 'COMPLETED') AS linked,
            (SELECT count(access_token_ciphertext)::int FROM ring_tokens WHERE account_id = $1) AS tokens,
            (SELECT count(*)::int FROM devices WHERE account_id = $1) AS devices,
            (SELECT count(*)::int FROM device_events WHERE account_id = $1) AS events,
            EXISTS (SELECT 1 FROM webhook_events WHERE account_id = $1 AND body IS NOT NULL) AS bodies,
            (SELECT count(*)::int FROM audit_archive WHERE user_id = $2::uuid) AS archived`,
    [ringUser.account_id, userId],
  );
  return held;
}

/** A linked user with a device and an event, whose browser shows the account page. */
async function newVictim(): Promise<Omit<Victim, keyof Place>> {
  const user = await world.ring.createUser({ devices: [{ name: `Door ${randomUUID()}` }] });
  const { visitor, ringUser, email } = await linked(world, user);
  await untilIdle(world);
  await world.sql('DELETE FROM device_events WHERE account_id = $1', [ringUser.account_id]);
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'button_press' });
  await until('the event is there', async () => {
    const events = await world.sql('SELECT 1 FROM device_events WHERE account_id = $1', [ringUser.account_id]);
    return events.length === 1;
  });
  await visitor.open('/account');
  const [owner] = await world.sql<Pick<Tables['users'], 'id'>>('SELECT id FROM users WHERE email = $1', [email]);
  return { visitor, ringUser, email, userId: owner?.id ?? '' };
}

/** From now on Postgres takes 8 s at each place, for the one user who is listed for it. A statement may take 10 s. */
async function makeSlow(): Promise<void> {
  await world.sql('CREATE TABLE slow_places (trigger_name text, part_of_row text)');
  await world.sql(`
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF EXISTS (SELECT 1 FROM slow_places
                  WHERE trigger_name = TG_NAME
                    AND strpos(to_jsonb(CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END)::text, part_of_row) > 0) THEN
        PERFORM pg_sleep(8);
      END IF;
      RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END $$`);
  for (const { slow, ringUser, userId } of victims) {
    const name = `${slow.timing}_${slow.action}_${slow.table}`.toLowerCase();
    await world.sql(
      `CREATE TRIGGER ${name} ${slow.timing} ${slow.action} ON ${slow.table} FOR EACH ROW EXECUTE FUNCTION be_slow()`,
    );
    for (const part of [ringUser.account_id, userId]) {
      await world.sql('INSERT INTO slow_places VALUES ($1, $2)', [name, part]);
    }
  }
}
