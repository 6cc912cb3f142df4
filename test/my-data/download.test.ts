import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readConfig } from '../../src/configuration/config.js';
import type { Tables } from '../../src/database/tables.js';
import { openAccessToken, openRefreshToken, type SealedPair } from '../../src/tokens/token-pairs.js';
import { createVault } from '../../src/tokens/vault.js';
import type { Visitor } from '../support/clients/visitor.js';
import { untilProcessed } from '../support/features/inbox.js';
import { arriving, installed, linksOf, newEmail, PASSWORD, signedIn, untilLink } from '../support/features/linking.js';
import { newResident, type Resident, signIn } from '../support/features/my-data.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
let resident: Resident;
let neighbour: Resident;
beforeAll(async () => {
  world = await startWorld();
  resident = await newResident(world);
  neighbour = await newResident(world);
});
afterAll(() => world.stop());

interface MyData {
  account: { id: string; email: string; created_at: string; exempt_since: string | null };
  links: Record<string, unknown>[];
  devices: Record<string, unknown>[];
  device_events: Record<string, unknown>[];
  device_histories: Record<string, unknown>[];
  live_views: Record<string, unknown>[];
  scheduled_operations: Record<string, unknown>[];
  picture_requests: Record<string, unknown>[];
  snapshots: (Record<string, unknown> & { picture_base64: string })[];
  subscriptions: Record<string, unknown>[];
  webhook_events: (Record<string, unknown> & { body: string | null })[];
  archived_removals: Record<string, unknown>[];
  sessions: Record<string, unknown>[];
}

async function download(visitor: Visitor): Promise<MyData> {
  const { status, text: file } = await visitor.open('/account/data');
  expect(status).toBe(200);
  return JSON.parse(file) as MyData;
}

describe('the download', () => {
  test('is a JSON file that no cache may keep', async () => {
    await resident.visitor.open('/account/data');
    expect(resident.visitor.page.headers).toMatchObject({
      'content-type': 'application/json',
      'content-disposition': 'attachment; filename="my-data.json"',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
  });

  test('has everything that we hold about the user', async () => {
    const { ringUser, device, removedDevice, email, userId, picture } = resident;
    const account_id = ringUser.account_id;

    const data = await download(resident.visitor);

    expect(data.account).toMatchObject({ id: userId, email, exempt_since: null });
    expect(new Date(data.account.created_at).getTime()).toBeLessThanOrEqual(world.clock.now().getTime());
    const [link] = await linksOf(world, ringUser);
    expect(data.links).toMatchObject([
      {
        id: link?.id,
        account_id,
        status: 'COMPLETED',
        account_identifier: link?.account_identifier,
        access: { status: 'CLAIMED' },
      },
    ]);
    expect(data.devices).toMatchObject(
      [
        { id: device.id, name: device.name, online: true, location: { country: 'DE' }, removed_at: null },
        { id: removedDevice.id, name: removedDevice.name, removed_at: expect.any(String) as unknown },
      ].sort((a, b) => (a.id < b.id ? -1 : 1)),
    );
    expect(data.device_events.filter(({ device_id }) => device_id === device.id)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ type: 'motion_detected', subtype: 'human' }),
        expect.objectContaining({ type: 'button_press' }),
      ]),
    );
    expect(data.device_histories).toMatchObject([{ account_id, device_id: device.id, read_error: null }]);
    expect(data.live_views).toMatchObject([{ device_id: device.id, status: 'OPEN' }]);
    expect(data.scheduled_operations).toMatchObject([{ device_id: device.id, frequency: 'HOURLY', status: 'ACTIVE' }]);
    expect(data.picture_requests).toMatchObject([{ device_id: device.id, outcome: 'taken' }]);
    expect(data.snapshots).toMatchObject([{ device_id: device.id, content_type: 'image/png' }]);
    expect(Buffer.from(data.snapshots[0]?.picture_base64 ?? '', 'base64')).toEqual(picture);
    expect(data.subscriptions).toMatchObject([{ account_id, status: 'active' }]);
    expect(data.archived_removals).toMatchObject([{ kind: 'DEVICE_REMOVED', device_id: removedDevice.id }]);
    expect(data.sessions).toEqual([{ expires_at: expect.any(String) as unknown }]);
    const inSevenDays = Date.now() + 7 * 86_400_000;
    expect(Math.abs(new Date(String(data.sessions[0]?.expires_at)).getTime() - inSevenDays)).toBeLessThan(60_000);

    const stored = await world.sql<Pick<Tables['webhook_events'], 'type' | 'body'>>(
      'SELECT type, body FROM webhook_events WHERE account_id = $1 ORDER BY id',
      [account_id],
    );
    expect(data.webhook_events.map(({ type, body }) => ({ type, body }))).toEqual(stored);
    expect(stored.map(({ type }) => type)).toContain('something_new');
    expect(stored.some(({ body }) => body?.includes('motion_detected'))).toBe(true);
  });

  test('counts as many rows as the tables have', async () => {
    const data = await download(resident.visitor);
    for (const table of [
      'devices',
      'device_events',
      'device_histories',
      'picture_requests',
      'snapshots',
      'subscriptions',
      'webhook_events',
    ] as const) {
      const rows = await world.sql(`SELECT 1 FROM ${table} WHERE account_id = $1`, [resident.ringUser.account_id]);
      expect([table, data[table].length]).toEqual([table, rows.length]);
    }
  });

  test('is whole when a list is longer than one reading', async () => {
    const visitor = await signedIn(world);
    const ringUser = await installed(world);
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');
    await untilLink(world, ringUser, 'COMPLETED');
    for (const count of [400, 401]) {
      await world.sql('DELETE FROM device_events WHERE account_id = $1', [ringUser.account_id]);
      await world.sql(
        `INSERT INTO device_events (request_id, account_id, device_id, type, occurred_at)
         SELECT gen_random_uuid(), $1, 'device', 'button_press', now() - n * interval '1 s' FROM generate_series(1, $2) n`,
        [ringUser.account_id, count],
      );
      const { device_events } = await download(visitor);
      expect(new Set(device_events.map(({ request_id }) => request_id)).size).toBe(count);
    }
  });

  test('of a user without data is empty lists', async () => {
    const email = newEmail();
    const { account, ...lists } = await download(await signedIn(world, email));
    expect(account.email).toBe(email);
    expect(lists).toMatchObject({ links: [], devices: [], snapshots: [], webhook_events: [], archived_removals: [] });
  });
});

describe('in the download', () => {
  test('there is no secret', async () => {
    const { visitor, email, ringUser } = resident;
    const other = await signIn(world, email);
    const { text: file } = await visitor.open('/account/data');

    const vault = createVault(readConfig(world.environment).encryptionKeys);
    const [pair] = await world.sql<SealedPair & Pick<Tables['ring_tokens'], 'id'>>(
      `SELECT * FROM ring_tokens WHERE account_id = $1 AND status = 'CLAIMED'`,
      [ringUser.account_id],
    );
    const [user] = await world.sql<Pick<Tables['users'], 'password_hash'>>('SELECT * FROM users WHERE email = $1', [
      email,
    ]);
    const [link] = await world.sql<Pick<Tables['account_links'], 'nonce_digest'>>(
      'SELECT * FROM account_links WHERE account_id = $1',
      [ringUser.account_id],
    );
    const sessions = await world.sql<Pick<Tables['sessions'], 'sid'> & { sess: { csrfToken?: string } }>(
      'SELECT sid, sess FROM sessions',
    );
    if (pair === undefined || user === undefined || link === undefined) throw new Error('nothing found');
    const secrets = [
      openAccessToken(vault, pair.id, pair),
      openRefreshToken(vault, pair.id, pair),
      ...[pair.access_token_ciphertext, pair.refresh_token_ciphertext, link.nonce_digest].flatMap((bytes) => [
        bytes.toString('hex'),
        bytes.toString('base64'),
      ]),
      user.password_hash,
      user.password_hash.split('$').at(-1),
      PASSWORD,
      ...sessions.map(({ sid }) => sid),
      ...sessions.map(({ sess }) => sess.csrfToken).filter((token) => token !== undefined),
      visitor.sessionCookie,
      other.sessionCookie,
    ];
    expect(secrets.length).toBeGreaterThan(15);
    for (const secret of secrets) {
      expect(secret).toBeTruthy();
      expect(file.includes(secret ?? '')).toBe(false);
    }
  });

  test('there is nothing of other users', async () => {
    const { text: file } = await resident.visitor.open('/account/data');
    for (const foreign of [
      neighbour.email,
      neighbour.userId,
      neighbour.ringUser.account_id,
      neighbour.device.id,
      neighbour.device.name,
      neighbour.removedDevice.name,
      neighbour.picture.toString('base64'),
    ]) {
      expect(file).not.toContain(foreign);
    }
  });

  test('there is nothing of the next user of the same Ring account', async () => {
    const former = await newResident(world);
    const { ringUser } = former;
    world.clock.advance(1);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
    await untilProcessed(world, ringUser);
    world.clock.advance(60);
    const next = await signedIn(world);
    await arriving(world, await installed(world, ringUser), next);
    await next.submit('/ring/link');
    await untilLink(world, ringUser, 'COMPLETED');
    world.clock.advance(1);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    await untilProcessed(world, ringUser);

    const [ofFormer, ofNext] = [await download(former.visitor), await download(next)];

    expect(ofFormer.links).toMatchObject([{ status: 'REMOVED' }]);
    for (const list of ['devices', 'device_events', 'device_histories', 'snapshots', 'subscriptions'] as const) {
      expect([list, ofFormer[list]]).toEqual([list, []]);
    }
    expect(ofNext.devices.length).toBeGreaterThan(0);
    expect(ofNext.device_events).toHaveLength(1);
    expect(ofNext.archived_removals).toEqual([]);
    // Each event is in one of the two downloads, decided by the link that it came for.
    const ids = ({ webhook_events }: MyData) => webhook_events.map(({ request_id }) => String(request_id));
    expect(ids(ofFormer).length).toBeGreaterThan(3);
    expect(ids(ofFormer).filter((id) => ids(ofNext).includes(id))).toEqual([]);
    const all = await world.sql<Pick<Tables['webhook_events'], 'request_id'>>(
      'SELECT request_id FROM webhook_events WHERE account_id = $1',
      [ringUser.account_id],
    );
    expect([...ids(ofFormer), ...ids(ofNext)].sort()).toEqual(all.map(({ request_id }) => request_id).sort());
  });
});

describe('a large download', () => {
  const PICTURES = 6;
  const PICTURE_BYTES = 4_000_000;
  /** The most downloads of all users together at one process. */
  const MOST_AT_ONCE = 4;
  let owner: Resident;
  beforeAll(async () => {
    owner = await residentWithPictures();
  });

  async function residentWithPictures(): Promise<Resident> {
    const resident = await newResident(world);
    await world.sql(
      `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
       SELECT gen_random_uuid(), $1, $2, now() + n * interval '1 second', 'image/jpeg',
              convert_to(repeat('x', $4), 'UTF8') FROM generate_series(1, $3) n`,
      [resident.ringUser.account_id, resident.device.id, PICTURES, PICTURE_BYTES],
    );
    return resident;
  }

  /** The answer, unread except for what fits into the buffers on the way. */
  async function begin({ visitor } = owner): Promise<IncomingMessage> {
    const sent = request(`${world.url}/account/data`, { headers: { cookie: visitor.cookie }, agent: false });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.on('error', () => undefined);
    return response;
  }

  const openDownloads = () =>
    world.sql<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'FETCH%' AND datname = current_database()`,
    );
  const untilWaiting = () => until('the app waits for the reader', async () => (await openDownloads()).length > 0);
  const untilOver = () => until('the connection is free again', async () => (await openDownloads()).length === 0);

  test('is as of one moment, however long it takes', async () => {
    const response = await begin();
    await untilWaiting();
    // Everything but the pictures is read before or after them, so a change now must be in none of it.
    await world.sql('UPDATE subscriptions SET plan_id = $2 WHERE account_id = $1', [
      owner.ringUser.account_id,
      'too late',
    ]);

    const file = await text(response);

    const data = JSON.parse(file) as MyData;
    expect(data.snapshots).toHaveLength(PICTURES + 1);
    expect(data.snapshots.at(-1)?.picture_base64).toHaveLength(Math.ceil(PICTURE_BYTES / 3) * 4);
    expect(data.subscriptions).toHaveLength(1);
    expect(file).not.toContain('too late');
    await untilOver();
  });

  test('reads pictures one by one: Postgres puts no copy of all of them aside first', async () => {
    const response = await begin();
    await untilWaiting();
    const [{ pid } = { pid: 0 }] = await openDownloads();

    const aside = await world.sql(`SELECT name, size FROM pg_ls_tmpdir() WHERE name LIKE $1`, [`pgsql_tmp${pid}.%`]);

    response.destroy();
    expect(aside).toEqual([]);
    await untilOver();
  });

  test('lets go of its connection when the reader hangs up', async () => {
    const response = await begin();
    await untilWaiting();

    response.destroy();

    await untilOver();
    expect((await owner.visitor.open('/account')).status).toBe(200);
  });

  test('that breaks off is seen to be broken', async () => {
    const response = await begin();
    await untilWaiting();
    await until('its connection is cut', async () => {
      const [open] = await openDownloads();
      if (open !== undefined) await world.sql('SELECT pg_terminate_backend($1)', [open.pid]);
      return open !== undefined;
    });

    await expect(text(response)).rejects.toThrow(/aborted/);
    expect(world.log.some((line) => line.includes('a download broke off'))).toBe(true);
  });

  test('of one person leaves room for others, however many and slow that one’s are', async () => {
    const responses = await Promise.all(Array.from({ length: MOST_AT_ONCE }, () => begin()));

    const { status } = await neighbour.visitor.open('/account/data');

    for (const response of responses) response.destroy();
    expect(status).toBe(200);
    await untilOver();
  });

  test('waits its turn when many are under way', async () => {
    const owners = [owner];
    for (let count = 1; count < MOST_AT_ONCE; count++) owners.push(await residentWithPictures());
    const responses = await Promise.all(owners.map(begin));
    await until('four are under way', async () => (await openDownloads()).length === MOST_AT_ONCE);

    const fifth = await neighbour.visitor.open('/account/data');

    expect(fifth.status).toBe(503);
    expect(fifth.headers['retry-after']).toMatch(/^\d+$/);
    expect(fifth.headers['content-disposition']).toBeUndefined();
    for (const response of responses) response.destroy();
    await untilOver();
    await until('it is possible again', async () => (await neighbour.visitor.open('/account/data')).status === 200);
  });
});
