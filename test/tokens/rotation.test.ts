import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { Tables } from '../../src/database/tables.js';
import { openAccessToken, openRefreshToken, type SealedPair } from '../../src/tokens/token-pairs.js';
import { createVault } from '../../src/tokens/vault.js';
import type { Visitor } from '../support/clients/visitor.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { arriving, installed, signedIn } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { manyLinks, tokenOf } from '../support/features/tokens.js';
import { until } from '../support/waiting/until.js';
import {
  type AppProcess,
  createProcessWorld,
  type ProcessWorld,
  spawnApp,
  spawnProcess,
} from '../support/worlds/process.js';

const COMMAND = fileURLToPath(new URL('../../src/commands/tokens-rotate.js', import.meta.url));
const OLD_ID = 'key-of-yesterday';
const NEW_ID = 'key-of-today';
const GATE = 4712;

const newKey = (id: string) => `${id}:${randomBytes(32).toString('base64')}`;
const [oldKey, newestKey] = [newKey(OLD_ID), newKey(NEW_ID)];
const both = { TOKEN_ENCRYPTION_KEYS: `${newestKey},${oldKey}` };

let world: ProcessWorld;
let app: AppProcess;
const owners: Owner[] = [];
/** A user with a nonce in the session, sealed under the old key. */
let undecided: Visitor;

beforeAll(async () => {
  world = await createProcessWorld();
  app = await world.startApp({ TOKEN_ENCRYPTION_KEYS: oldKey });
  owners.push(...(await Promise.all([sharing(world), sharing(world)])));
  const environment = { ...world.environment, TOKEN_ENCRYPTION_KEYS: oldKey };
  await manyLinks({ ...world, environment, clock: { now: () => new Date() } }, 250);
  undecided = await arriving(world, await installed(world), await signedIn(world));
  // A link that is being confirmed has its redirect sealed, too.
  await world.ring.setFaults([{ endpoint: 'integration-post', fault: { kind: 'status', status: 503 } }]);
  const confirming = await arriving(world, await installed(world), await signedIn(world));
  await confirming.submit('/ring/link');
  await until('a link is being confirmed, and its next attempt is far off', async () => {
    const [job] = await world.sql<{ id: string }>(
      `SELECT id FROM graphile_worker.jobs WHERE task_identifier = 'confirm_link' AND locked_at IS NULL AND run_at > now()`,
    );
    if (job === undefined) return false;
    await world.sql(`SELECT graphile_worker.reschedule_jobs(ARRAY[$1::bigint], run_at => now() + interval '1 hour')`, [
      job.id,
    ]);
    return true;
  });
  await world.ring.setFaults([]);
  await stop();
});
afterAll(() => world.stop());

async function stop(): Promise<void> {
  app.kill('SIGTERM');
  await app.ended;
}

const rotate = (environment: Record<string, string> = both): AppProcess =>
  spawnProcess(process.execPath, [COMMAND], { ...world.environment, ...environment });

async function linksByStatus(): Promise<Record<string, number>> {
  const rows = await world.sql<Pick<Tables['account_links'], 'status'> & { count: number }>(
    'SELECT status, count(*)::int AS count FROM account_links GROUP BY 1',
  );
  return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
}

/** The number of rows that are sealed under each key. */
async function rowsByKey(): Promise<Record<string, number>> {
  const rows = await world.sql<{ id: string; count: number }>(
    `SELECT id, count(*)::int AS count FROM (SELECT key_id AS id FROM ring_tokens WHERE key_id IS NOT NULL UNION ALL
       SELECT request_key_id FROM account_links WHERE request_key_id IS NOT NULL) sealed GROUP BY 1`,
  );
  return Object.fromEntries(rows.map(({ id, count }) => [id, count]));
}

function expectNoSecret(text: string): void {
  for (const key of [oldKey, newestKey]) expect(text).not.toContain(key.split(':')[1]);
  expect(text).not.toMatch(/sim-(at|rt)-/);
  expect(text).not.toContain(world.environment.SESSION_SECRET);
}

/** Refreshes and claims one after the other, until told to stop. */
function traffic(): { end(): Promise<{ refreshed: number; claimed: number }> } {
  const counts = { refreshed: 0, claimed: 0 };
  let isOver = false;
  async function go(): Promise<void> {
    while (!isOver) {
      const owner = await sharing(world);
      owners.push(owner);
      counts.claimed++;
      for (const one of owners.slice(-3)) {
        await world.sql('UPDATE ring_tokens SET access_token_expires_at = now() WHERE account_id = $1', [
          one.ringUser.account_id,
        ]);
        expect((await openLiveView(world.url, one)).status).toBe(201);
        counts.refreshed++;
      }
    }
  }
  const going = go();
  return {
    async end() {
      isOver = true;
      await going;
      return counts;
    },
  };
}

describe('a start without a key that some row needs', () => {
  test.each([
    ['of a pair', 'SELECT 1'],
    [
      'of a link that is being confirmed',
      `UPDATE ring_tokens SET key_id = '${NEW_ID}' WHERE key_id = '${OLD_ID}' RETURNING 1`,
    ],
  ])('%s is refused, naming the key and no secret', async (_what, change) => {
    const changed = await world.sql(change);

    const refused = spawnApp({ ...world.environment, TOKEN_ENCRYPTION_KEYS: newestKey });

    expect(await refused.ended).toMatchObject({ code: 1 });
    const [line = ''] = refused.stderr().split('\n');
    expect(line).toContain(`"${OLD_ID}"`);
    expect(line).toContain('TOKEN_ENCRYPTION_KEYS');
    expectNoSecret(refused.stderr() + refused.stdout());
    if (changed.length > 1) {
      await world.sql(`UPDATE ring_tokens SET key_id = '${OLD_ID}' WHERE key_id = '${NEW_ID}'`);
    }
  });

  test('is refused to the command, too', async () => {
    const before = await rowsByKey();

    const refused = rotate({ TOKEN_ENCRYPTION_KEYS: newestKey });

    expect(await refused.ended).toMatchObject({ code: 1 });
    expect(refused.stderr()).toContain(OLD_ID);
    expectNoSecret(refused.stderr() + refused.stdout());
    expect(await rowsByKey()).toEqual(before);
  });

  test('that has the right id and other bytes changes nothing', async () => {
    const before = await rowsByKey();

    const failed = rotate({ TOKEN_ENCRYPTION_KEYS: `${newestKey},${newKey(OLD_ID)}` });

    expect(await failed.ended).toMatchObject({ code: 1 });
    expect(failed.stderr()).toContain('TOKEN_ENCRYPTION_KEYS');
    expectNoSecret(failed.stderr() + failed.stdout());
    expect(await rowsByKey()).toEqual(before);
  });
});

describe('a rotation while the service runs', () => {
  test('that is killed in the middle leaves every row under one key or the other, whole', async () => {
    app = await world.startApp(both);
    // One row's change waits at a gate: the first batches are committed, and one is open.
    await world.sql(`CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(${GATE}); RETURN NEW; END $$`);
    const gate = new pg.Client({ connectionString: world.databaseUrl });
    await gate.connect();
    await gate.query(`SELECT pg_advisory_lock(${GATE})`);
    await world.sql(`CREATE SEQUENCE resealed`);
    await world.sql(`CREATE TRIGGER gate BEFORE UPDATE ON ring_tokens FOR EACH ROW
                     WHEN (OLD.key_id = '${OLD_ID}' AND NEW.key_id = '${NEW_ID}' AND OLD.generation = NEW.generation
                           AND nextval('resealed') > 150) EXECUTE FUNCTION wait_at_gate()`);

    const rotation = rotate();
    await until('a batch waits at the gate', async () => {
      const waiting = await world.sql(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`,
      );
      return waiting.length > 0;
    });
    rotation.kill('SIGKILL');
    await rotation.ended;
    await gate.end();
    await world.sql('DROP FUNCTION wait_at_gate CASCADE');

    expect(rotation.stdout()).toMatch(/\d+ rows sealed under "key-of-today", \d+ left/);
    await until('its transaction is over', async () => {
      const open = await world.sql(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = '' AND xact_start IS NOT NULL
            AND pid <> pg_backend_pid()`,
      );
      return open.length === 0;
    });
    expect(Object.keys(await rowsByKey()).sort()).toEqual([NEW_ID, OLD_ID]);
    for (const owner of owners) expect((await openLiveView(world.url, owner)).status).toBe(201);
  });

  test('goes on where it stopped, with refreshes and claims meanwhile', async () => {
    // A locked row is left to the end.
    const lock = new pg.Client({ connectionString: world.databaseUrl });
    await lock.connect();
    await lock.query('BEGIN');
    await lock.query(
      `SELECT 1 FROM ring_tokens WHERE key_id = '${OLD_ID}' AND account_id IS NOT NULL
                         AND account_id <> ALL ($1) LIMIT 1 FOR UPDATE`,
      [owners.map(({ ringUser }) => ringUser.account_id)],
    );
    const meanwhile = traffic();
    const rotation = rotate();
    await until('everything else is sealed anew', () => Promise.resolve(rotation.stdout().includes(', 1 left')));

    const { refreshed, claimed } = await meanwhile.end();
    expect(refreshed).toBeGreaterThan(0);
    expect(claimed).toBeGreaterThan(0);
    expect(rotation.hasEnded()).toBe(false);
    await lock.query('ROLLBACK');
    await lock.end();
    expect(await rotation.ended).toMatchObject({ code: 0 });
    // The command runs once more, with nothing left to do.
    expect(await rotate().ended).toMatchObject({ code: 0 });
    expect(rotation.stdout().trim().split('\n').at(-1)).toBe('Everything is sealed under "key-of-today".');
    expectNoSecret(rotation.stdout() + rotation.stderr());
    expect(Object.keys(await rowsByKey())).toEqual([NEW_ID]);
  });

  test('leaves no trace of the old key, and nothing that the new one does not open', async () => {
    const tables = await world.sql<{ name: string }>(
      `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
        WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
          AND table_name <> 'sessions'`,
    );
    for (const { name } of tables) {
      expect(await world.sql(`SELECT 1 FROM ${name} AS one WHERE one::text LIKE '%${OLD_ID}%'`)).toEqual([]);
    }
    const vault = createVault([{ id: NEW_ID, key: Buffer.from(newestKey.split(':')[1] ?? '', 'base64') }]);
    const pairs = await world.sql<SealedPair & Pick<Tables['ring_tokens'], 'id'>>(
      'SELECT * FROM ring_tokens WHERE key_id IS NOT NULL',
    );
    expect(pairs.length).toBeGreaterThan(250);
    for (const pair of pairs) {
      expect(openAccessToken(vault, pair.id, pair)).toMatch(/^sim-at-/);
      expect(openRefreshToken(vault, pair.id, pair)).toMatch(/^sim-rt-/);
    }
  });

  test('makes the new key enough: links go on, and the one that waited for Ring is completed', async () => {
    await stop();
    app = await world.startApp({ TOKEN_ENCRYPTION_KEYS: newestKey });
    expect(await linksByStatus()).toMatchObject({ CONFIRMING: 1 });

    for (const owner of owners.slice(0, 5)) {
      await world.sql('UPDATE ring_tokens SET access_token_expires_at = now() WHERE account_id = $1', [
        owner.ringUser.account_id,
      ]);
      const { generation } = await tokenOf(world, owner.ringUser);
      expect((await openLiveView(world.url, owner)).status).toBe(201);
      expect((await tokenOf(world, owner.ringUser)).generation).toBe(generation + 1);
    }
    await until('the link is completed', async () => {
      await world.sql(`SELECT graphile_worker.reschedule_jobs(array_agg(id), run_at => now())
                           FROM graphile_worker.jobs WHERE locked_at IS NULL`);
      return (await linksByStatus()).CONFIRMING === undefined;
    });
    expect(Object.keys(await linksByStatus())).toEqual(['COMPLETED']);
    expectNoSecret(app.stdout() + app.stderr());
  });

  test('lets a user with a redirect sealed under the old key tap Sign In again', async () => {
    const page = await undecided.open('/ring/link');
    expect(page.status).toBeLessThan(500);
    expect(page.text).toContain('Ring app');
  });
});

describe('a ciphertext that was altered', () => {
  test('stays as it is, and the rotation of everything else names its row', async () => {
    const [{ id } = { id: '' }] = await world.sql<Pick<Tables['ring_tokens'], 'id'>>(
      `UPDATE ring_tokens SET refresh_token_ciphertext =
              set_byte(refresh_token_ciphertext, 40, 255 - get_byte(refresh_token_ciphertext, 40))
        WHERE id = (SELECT id FROM ring_tokens WHERE key_id IS NOT NULL LIMIT 1) RETURNING id`,
    );

    const failed = rotate({ TOKEN_ENCRYPTION_KEYS: `${newKey('key-of-tomorrow')},${newestKey}` });

    expect(await failed.ended).toMatchObject({ code: 1 });
    expect(failed.stderr()).toContain(`ring_tokens/${id}`);
    expect(await rowsByKey()).toMatchObject({ [NEW_ID]: 1, 'key-of-tomorrow': expect.any(Number) as unknown });
    expectNoSecret(failed.stderr() + failed.stdout());
  });
});
