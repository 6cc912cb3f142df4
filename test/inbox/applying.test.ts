import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { deliver, type Envelope, newEvent } from '../support/clients/webhooks.js';
import {
  areEventsApplied,
  holdAccount,
  inboxOf,
  leaveBehind,
  untilIdle,
  untilProcessed,
} from '../support/features/inbox.js';
import { arriving, installed, linked, signedIn, untilLink } from '../support/features/linking.js';
import { holdLock } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** More accounts than an instance keeps in its memory. */
const MANY = 10_500;

let world: World;
/** The addresses of the two instances. */
let origins: string[];

beforeAll(async () => {
  world = await startWorld();
  origins = [world.url, `http://localhost:${(await world.startAnother()).port}`];
  // Applied events are numbered. A transaction that fails takes its numbers back with it.
  await world.sql('CREATE TABLE applied (number serial, account_id text, request_id uuid)');
  await world.sql(`
    CREATE FUNCTION note_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.device_id LIKE 'poison%' THEN RAISE EXCEPTION 'the device is poisoned'; END IF;
      INSERT INTO applied (account_id, request_id) VALUES (NEW.account_id, NEW.request_id);
      RETURN NEW;
    END $$`);
  await world.sql(
    'CREATE TRIGGER note_event BEFORE INSERT ON device_events FOR EACH ROW EXECUTE FUNCTION note_event()',
  );
});
beforeEach(() => untilIdle(world));
afterAll(() => world.stop());

const idOf = ({ meta }: Envelope): string => meta.request_id;

async function appliedOf({ account_id }: RingUser): Promise<string[]> {
  const found = await world.sql<{ request_id: string }>(
    'SELECT request_id FROM applied WHERE account_id = $1 ORDER BY number',
    [account_id],
  );
  return found.map(({ request_id }) => request_id);
}

const arrivedOf = async (ringUser: RingUser): Promise<string[]> =>
  (await inboxOf(world, ringUser)).map(({ request_id }) => request_id);

/** Delivers events of an account one after the other, to the instances in turn, until told to stop. */
function deliverSteadily({ account_id: accountId }: RingUser): { stop: () => Promise<void> } {
  const stopping = new AbortController();
  const delivering = (async () => {
    for (let index = 0; !stopping.signal.aborted; index++) {
      const { status } = await deliver(origins[index % origins.length] ?? '', JSON.stringify(newEvent({ accountId })));
      expect(status).toBe(200);
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await delivering;
    },
  };
}

test('events are applied in order and once when the link completes while they are delivered to two instances', async () => {
  const ringUser = await installed(world);
  const visitor = await arriving(world, ringUser, await signedIn(world));
  const deliveries = deliverSteadily(ringUser);
  await until('some have come', async () => (await inboxOf(world, ringUser)).length > 20);
  expect(await appliedOf(ringUser)).toEqual([]);

  await visitor.submit('/ring/link');
  await untilLink(world, ringUser, 'COMPLETED');
  const before = (await inboxOf(world, ringUser)).length;
  await until('more have come', async () => (await inboxOf(world, ringUser)).length > before + 20);
  await deliveries.stop();
  await untilProcessed(world, ringUser);

  expect(await appliedOf(ringUser)).toEqual(await arrivedOf(ringUser));
});

test('events are applied in order and once when sweeps and fresh deliveries want the same account', async () => {
  const { ringUser } = await linked(world);
  const deliveries = deliverSteadily(ringUser);
  for (let round = 0; round < 30; round++) await leaveBehind(world, newEvent({ accountId: ringUser.account_id }));
  await deliveries.stop();
  await untilProcessed(world, ringUser);

  const applied = await appliedOf(ringUser);
  expect([...applied].sort()).toEqual((await arrivedOf(ringUser)).sort());
  expect(new Set(applied).size).toBe(applied.length);
});

test('an account that is locked keeps no other one waiting', async () => {
  const [held, free] = [(await linked(world)).ringUser, (await linked(world)).ringUser];
  const release = await holdAccount(world, held);
  const [waiting, going] = [newEvent({ accountId: held.account_id }), newEvent({ accountId: free.account_id })];
  await Promise.all([waiting, going].map((event) => deliver(world.url, JSON.stringify(event))));

  await until('the free account is done', async () => (await appliedOf(free)).includes(idOf(going)));
  expect(await appliedOf(held)).not.toContain(idOf(waiting));
  await release();
  await untilProcessed(world, held);

  expect(await appliedOf(held)).toContain(idOf(waiting));
});

test('an account whose link another transaction has locked keeps no others waiting that are applied with it', async () => {
  const users = await Promise.all(Array.from({ length: 4 }, async () => (await linked(world)).ringUser));
  const [held, ...free] = users as [RingUser, ...RingUser[]];
  const release = await holdLock(world, 'SELECT 1 FROM account_links WHERE account_id = $1 FOR UPDATE', [
    held.account_id,
  ]);
  const events = users.map(({ account_id: accountId }) => newEvent({ accountId }));
  // A sweep finds all of them at once.
  await leaveBehind(world, ...events);

  await until('the free accounts are done', async () => {
    const applied = await Promise.all(free.map(appliedOf));
    return applied.every((ids) => ids.length > 0);
  });
  expect(await appliedOf(held)).toEqual([]);
  await release();
  for (const user of users) await untilProcessed(world, user);

  expect((await Promise.all(users.map(appliedOf))).flat()).toEqual(events.map(idOf));
});

test('an event that can not be applied keeps those back that arrived with it for its account, and no others', async () => {
  const [ill, well] = [(await linked(world)).ringUser, (await linked(world)).ringUser];
  const [poison, behind, other] = [
    newEvent({ accountId: ill.account_id, deviceId: 'poison' }),
    newEvent({ accountId: ill.account_id }),
    newEvent({ accountId: well.account_id }),
  ];
  await leaveBehind(world, poison, behind, other);

  await until('the other account is done', async () => (await appliedOf(well)).includes(idOf(other)));
  await until('the event has failed', async () => Number((await inboxOf(world, ill))[0]?.attempts) > 0);
  expect(await appliedOf(ill)).toEqual([]);

  await world.sql(`UPDATE webhook_events SET attempts = 11, retry_at = now() WHERE request_id = $1`, [idOf(poison)]);
  await until('those behind it go on', async () => (await appliedOf(ill)).includes(idOf(behind)));
  expect(await inboxOf(world, ill)).toMatchObject([{ status: 'FAILED', attempts: 12 }, { status: 'PROCESSED' }]);
});

describe('events of more accounts than an instance keeps in its memory', () => {
  test('are all applied', async () => {
    await world.sql(
      `WITH account AS (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)),
       owner AS (
         INSERT INTO users (id, email, password_hash, created_at) SELECT id, id || '@example.com', 'none', now() FROM account
       ), pair AS (
         INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                                  access_token_expires_at, created_at, refreshed_at, claimed_at)
         SELECT id, 'CLAIMED', id, 'none', '\\x00', '\\x00', '', now() + interval '4 hours', now(), now(), now() FROM account
       ), link AS (
         INSERT INTO account_links (id, user_id, account_id, token_id, status, account_identifier, nonce_digest, created_at,
                                    updated_at)
         SELECT id, id, id, id, 'COMPLETED', '', '\\x00', now(), now() FROM account
       )
       INSERT INTO webhook_events (request_id, account_id, type, device_id, status, body, occurred_at, received_at)
       SELECT id, id, 'motion_detected', 'door', 'PENDING', replace(replace($2, 'ACCOUNT', id::text), 'REQUEST', id::text),
              now(), now()
         FROM account`,
      [MANY, JSON.stringify(newEvent({ accountId: 'ACCOUNT', requestId: 'REQUEST', type: 'motion_detected' }))],
    );

    await until('all are applied', () => areEventsApplied(world));

    const [found] = await world.sql<{ events: number; accounts: number }>(
      `SELECT count(*)::int AS events, count(DISTINCT account_id)::int AS accounts
         FROM device_events WHERE device_id = 'device-1' AND account_id IN (SELECT id::text FROM users)`,
    );
    expect(found).toEqual({ events: MANY, accounts: MANY });
  });
});
