import { once as onceEvent } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Owner, sharing } from '../support/features/devices.js';
import { linksOf, once } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { refreshesOf, tokenOf } from '../support/features/tokens.js';
import { holdLock, untilLocksAwaited } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import { type AppProcess, createProcessWorld, type ProcessWorld, statusOf } from '../support/worlds/process.js';

let world: ProcessWorld;
let app: AppProcess;
beforeAll(async () => {
  world = await createProcessWorld();
  app = await world.startApp();
  await keepHistory();
});
afterAll(() => world.stop());

describe('a process that is killed while it refreshes', () => {
  let beforeRing: Owner;
  let beforeAnswer: Owner;
  let beforeWrite: Owner;

  beforeAll(async () => {
    [beforeRing, beforeAnswer, beforeWrite] = await Promise.all([sharing(world), sharing(world), sharing(world)]);
    for (const owner of [beforeRing, beforeAnswer, beforeWrite]) await expire(owner);

    // Everything from here on happens within the 8 seconds that a call to Ring may take.
    await world.ring.setFaults([once('token', { kind: 'silence' })]);
    await beginRefresh(beforeRing);
    await world.ring.setFaults([once('token', { kind: 'silence' }, 'after')]);
    await beginRefresh(beforeAnswer);
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    await beginRefresh(beforeWrite);
    const lock = new pg.Client({ connectionString: world.databaseUrl });
    await lock.connect();
    await lock.query('BEGIN');
    await lock.query('SELECT 1 FROM ring_tokens WHERE id = $1 FOR UPDATE', [
      (await tokenOf(world, beforeWrite.ringUser)).id,
    ]);
    await world.ring.release();
    await until('the write hangs', async () => {
      const waiting = await world.sql(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return waiting.length === 1;
    });
    expect((await refreshesOf(world, beforeRing.ringUser)).map((one) => one.effect_status)).toEqual([null]);
    expect((await refreshesOf(world, beforeAnswer.ringUser)).map((one) => one.effect_status)).toEqual([200]);
    expect((await refreshesOf(world, beforeWrite.ringUser)).map((one) => one.status)).toEqual([200]);
    app.kill('SIGKILL');
    await app.ended;
    await lock.query('ROLLBACK');
    await lock.end();
  });

  test('leaves pairs that do not count as fine', async () => {
    for (const owner of [beforeRing, beforeAnswer, beforeWrite]) {
      expect(await tokenOf(world, owner.ringUser)).toMatchObject({
        status: 'CLAIMED',
        generation: 0,
        refresh_state: 'REFRESHING',
      });
    }
  });

  test('is noticed by the next one, which recovers the pairs that Ring has not replaced', async () => {
    app = await world.startApp();
    // The refreshes count as abandoned at once, so that the test need not wait.
    await world.sql(`UPDATE ring_tokens SET refresh_started_at = now() - interval '45 seconds'`);

    await until('the pair is replaced', async () => (await tokenOf(world, beforeRing.ringUser)).generation === 1);

    expect(await tokenOf(world, beforeRing.ringUser)).toMatchObject({ status: 'CLAIMED', refresh_state: 'FINE' });
    expect(await historyOf(beforeRing)).toEqual(['REFRESHING', 'UNCERTAIN', 'REFRESHING', 'FINE']);
    expect((await openLiveView(world.url, beforeRing)).status).toBe(201);
    expect(app.stdout()).toContain('a process died while it refreshed a token pair');
  });

  test('and tells the users of the others to link again', async () => {
    for (const owner of [beforeAnswer, beforeWrite]) {
      await until(
        'the link has to be made again',
        async () => (await linksOf(world, owner.ringUser))[0]?.status === 'REAUTH_REQUIRED',
      );
      expect((await historyOf(owner)).slice(0, 3)).toEqual(['REFRESHING', 'UNCERTAIN', 'REFRESHING']);
      expect(await tokenOf(world, owner.ringUser)).toMatchObject({ status: 'REVOKED', key_id: null });
    }
  });
});

describe('a process that is told to stop while it refreshes', () => {
  beforeEach(async () => {
    if (app.hasEnded()) app = await world.startApp();
  });

  test('stores the answer before it ends, also when the caller has hung up', async () => {
    const owner = await sharing(world);
    await expire(owner);
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    const caller = new AbortController();
    const answer = openLiveView(world.url, owner, { signal: caller.signal }).catch(() => 'hung up');
    await untilAsked(owner);

    caller.abort();
    expect(await answer).toBe('hung up');
    app.kill('SIGTERM');
    await until('it has heard', () => Promise.resolve(app.stdout().includes('"stopping"')));
    await world.ring.release();

    expect(await app.ended).toMatchObject({ code: 0 });
    expect(await refreshesOf(world, owner.ringUser)).toMatchObject([{ effect_status: 200 }]);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 1, refresh_state: 'FINE' });
  });

  test('hangs up on a client that goes on sending a request, takes no job meanwhile, and stores the answer', async () => {
    const owner = await sharing(world);
    await expire(owner);
    const trickle = await sendSlowly();
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    await beginRefresh(owner);
    const release = await holdLock(world, 'SELECT 1 FROM ring_tokens WHERE account_id = $1 FOR UPDATE', [
      owner.ringUser.account_id,
    ]);
    await world.ring.release();
    await untilLocksAwaited(world, 1);

    app.kill('SIGTERM');
    await until('no request is served any more', async () => (await statusOf(`${world.url}/livez`)) === undefined);
    await world.sql(`SELECT graphile_worker.add_job('fetch_inventory', $1::json, job_key => 'too late')`, [
      JSON.stringify({ accountId: owner.ringUser.account_id, attempt: 1 }),
    ]);
    await trickle.ended;
    // The connection is not closed because the request took too long, which would be answered 408.
    expect(trickle.received()).not.toContain('408');
    expect(app.hasEnded()).toBe(false);
    await release();

    expect(await app.ended).toMatchObject({ code: 0 });
    expect(app.stdout()).not.toContain('something did not stop');
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 1, refresh_state: 'FINE' });
    expect(await world.sql(`SELECT attempts, locked_at FROM graphile_worker.jobs WHERE key = 'too late'`)).toEqual([
      { attempts: 0, locked_at: null },
    ]);
  });
});

/** A client that takes minutes for one request. The app has seen the beginning of it. */
async function sendSlowly(): Promise<{ ended: Promise<unknown>; received: () => string }> {
  const socket = connect(Number(world.environment.PORT), '127.0.0.1');
  const head = ['POST /ring/token HTTP/1.1', 'Host: app', 'Content-Type: application/json', 'Content-Length: 100000'];
  socket.write([...head, 'Expect: 100-continue', '', '{"code":'].join('\r\n'));
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
  await onceEvent(socket, 'data');
  const sending = setInterval(() => socket.write(' '), 1_000);
  // The client sees the connection break when the app closes it.
  socket.on('error', () => undefined);
  const ended = onceEvent(socket, 'close').finally(() => {
    clearInterval(sending);
  });
  return { ended, received: () => received };
}

function expire({ ringUser }: Owner): Promise<unknown> {
  return world.sql('UPDATE ring_tokens SET access_token_expires_at = now() WHERE account_id = $1', [
    ringUser.account_id,
  ]);
}

async function beginRefresh(owner: Owner): Promise<void> {
  openLiveView(world.url, owner).catch(() => undefined);
  await untilAsked(owner);
}

async function untilAsked(owner: Owner): Promise<void> {
  await until('Ring is asked', async () => (await refreshesOf(world, owner.ringUser)).length === 1);
}

/** Records each state of each pair, so that none is missed between two looks. */
async function keepHistory(): Promise<void> {
  await world.sql('CREATE TABLE history (id bigserial, token_id uuid, state text)');
  await world.sql(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     INSERT INTO history (token_id, state) VALUES (NEW.id, NEW.refresh_state); RETURN NEW; END $$`);
  await world.sql(`CREATE TRIGGER note AFTER UPDATE ON ring_tokens FOR EACH ROW
                   WHEN (NEW.refresh_state <> OLD.refresh_state) EXECUTE FUNCTION note()`);
}

async function historyOf({ ringUser }: Owner): Promise<string[]> {
  const { id } = await tokenOf(world, ringUser);
  const states = await world.sql<{ state: string }>('SELECT state FROM history WHERE token_id = $1 ORDER BY id', [id]);
  return states.map(({ state }) => state);
}
