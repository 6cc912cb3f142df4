import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilProcessed } from '../support/features/inbox.js';
import { openLiveView } from '../support/features/live-views.js';
import { createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import { until } from '../support/waiting/until.js';

/**
 * One kill for all places: for each place in the course of a deactivation there is an account for which Postgres is slow
 * there. When all of them have got there, the process is killed; then it starts again.
 */

const PLACES = [
  { where: 'before Ring’s answer is stored', trigger: 'before_delete_subscriptions' },
  { where: 'between the answer and what follows', trigger: 'after_update_devices' },
  { where: 'between live views and schedules', trigger: 'after_update_live_views' },
  { where: 'between schedules and pictures', trigger: 'after_update_scheduled_operations' },
  { where: 'when all is done and nothing committed', trigger: 'after_delete_snapshots' },
] as const;

type Place = (typeof PLACES)[number];

interface Held {
  subscription: string;
  marked: boolean;
  view: string;
  schedule: string;
  pictures: number;
}

let world: ProcessWorld;
const owners = new Map<Place, Owner>();
const afterKill = new Map<Place, Held>();

const ownerOf = (place: Place): Owner => {
  const owner = owners.get(place);
  if (owner === undefined) throw new Error('no such owner');
  return owner;
};

beforeAll(async () => {
  world = await createProcessWorld();
  const app = await world.startApp({ SUBSCRIPTION_REQUIRED: 'device' });
  for (const place of PLACES) owners.set(place, await subscribed());
  await makeSlow();
  for (const { ringUser } of owners.values()) {
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'subscription_deactivated' });
  }
  await until('every deactivation has got to its place', async () => {
    const sleeping = await world.sql(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`,
    );
    return sleeping.length === PLACES.length;
  });

  app.kill('SIGKILL');
  await app.ended;
  await world.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`,
  );
  await world.sql('DELETE FROM slow_places');
  for (const place of PLACES) afterKill.set(place, await heldOf(ownerOf(place)));
  await world.startApp({ SUBSCRIPTION_REQUIRED: 'device' });
});
afterAll(() => world.stop());

describe.each(PLACES)('a deactivation that was killed $where', (place) => {
  test('has done nothing by halves', () => {
    expect(afterKill.get(place)).toEqual({
      subscription: 'active',
      marked: false,
      view: 'OPEN',
      schedule: 'ACTIVE',
      pictures: 1,
    });
  });

  test('is done when a process runs again', async () => {
    await until('it is done', async () => (await heldOf(ownerOf(place))).marked);

    const { view, ...held } = await heldOf(ownerOf(place));
    expect(held).toEqual({ subscription: 'inactive', marked: true, schedule: 'SUBSCRIPTION', pictures: 0 });
    // By then the minute of the live view may be over.
    expect(['SUBSCRIPTION', 'TIME_LIMIT']).toContain(view);
  });
});

async function heldOf({ ringUser }: Owner): Promise<Held> {
  const [held] = await world.sql<Held & Record<string, unknown>>(
    `SELECT (SELECT status FROM subscriptions WHERE account_id = $1) AS subscription,
            (SELECT uncovered_since IS NOT NULL FROM devices WHERE account_id = $1) AS marked,
            (SELECT coalesce(end_reason, status) FROM live_views WHERE account_id = $1) AS view,
            (SELECT coalesce(pause_reason, status) FROM scheduled_operations WHERE account_id = $1) AS schedule,
            (SELECT count(*)::int FROM snapshots WHERE account_id = $1) AS pictures`,
    [ringUser.account_id],
  );
  if (held === undefined) throw new Error('nothing found');
  return held;
}

/** A user whose device is covered, with a picture, a schedule and an open live view. */
async function subscribed(): Promise<Owner> {
  const owner = await sharing(world);
  const { ringUser, device, visitor, path, csrfToken } = owner;
  // A question that is still under way would put off the one that this leads to.
  await untilProcessed(world, ringUser);
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'subscription_activated' });
  await untilProcessed(world, ringUser);
  await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
  await world.sql(
    `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
     VALUES ($1, $2, $3, now(), 'image/png', 'a picture')`,
    [randomUUID(), ringUser.account_id, device.id],
  );
  const { status } = await openLiveView(world.url, owner);
  if (status !== 201) throw new Error(`the live view is answered ${status}`);
  return owner;
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
  for (const place of PLACES) {
    const [timing, action, ...table] = place.trigger.split('_');
    await world.sql(
      `CREATE TRIGGER ${place.trigger} ${timing} ${action} ON ${table.join('_')} FOR EACH ROW EXECUTE FUNCTION be_slow()`,
    );
    await world.sql('INSERT INTO slow_places VALUES ($1, $2)', [place.trigger, ownerOf(place).ringUser.account_id]);
  }
}
