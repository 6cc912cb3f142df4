import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { untilIdle, untilProcessed } from '../support/features/inbox.js';
import { linked } from '../support/features/linking.js';
import { tick, tickAndFinish } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { spawnProcess } from '../support/worlds/process.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const EXPORT = fileURLToPath(new URL('../../src/commands/audit-export.js', import.meta.url));
const RETENTION_DAYS = 30;

let world: World;
beforeAll(async () => {
  world = await startWorld({ environment: { AUDIT_RETENTION_DAYS: `${RETENTION_DAYS}` } });
});
afterAll(() => world.stop());

/** A user who has linked, scheduled a picture and then removed the app. */
async function removed(): Promise<{ ringUser: RingUser; email: string }> {
  const { ringUser, email } = await linked(world);
  await untilIdle(world);
  await world.sql(
    `INSERT INTO scheduled_operations (id, user_id, link_id, account_id, device_id, kind, frequency, time_of_day, time_zone,
                                       status, next_run_at, created_at)
     SELECT gen_random_uuid(), user_id, id, account_id, $2, 'SNAPSHOT', 'DAILY', '07:30', 'Europe/Berlin', 'ACTIVE',
            now() + interval '1 day', now()
       FROM account_links WHERE account_id = $1`,
    [ringUser.account_id, ringUser.devices[0]?.id],
  );
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', timestamp: world.clock.now().getTime() });
  // The end of the integration is applied before all waiting events.
  await untilProcessed(world, ringUser);
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
  await untilProcessed(world, ringUser);
  return { ringUser, email };
}

async function archivedAt(accountId: string | undefined, time: string): Promise<void> {
  await world.sql('UPDATE audit_archive SET archived_at = $2 WHERE account_id = $1', [accountId, time]);
}

async function exported(
  ...args: string[]
): Promise<{ code: number | null; lines: Record<string, unknown>[]; stderr: string }> {
  const command = spawnProcess(process.execPath, [EXPORT, ...args], { DATABASE_URL: world.databaseUrl });
  const { code } = await command.ended;
  const lines = command.stdout().split('\n').filter(Boolean);
  return { code, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>), stderr: command.stderr() };
}

describe('the archive of a removal', () => {
  test('says who, what, when, why, the last state with its schedule, and the counts', async () => {
    const { ringUser, email } = await removed();

    const { code, lines } = await exported();

    expect(code).toBe(0);
    const [line] = lines.filter(({ account_id }) => account_id === ringUser.account_id);
    expect(line).toMatchObject({
      kind: 'LINK_REMOVED',
      reason: 'app_integration_removed',
      account_identifier: expect.stringMatching(/^v\*\*\*.@example\.com$/) as unknown,
      user_id: expect.any(String) as unknown,
      devices: expect.arrayContaining([
        expect.objectContaining({
          name: 'Front Door',
          online: true,
          scheduled_operations: [
            expect.objectContaining({ frequency: 'DAILY', time_of_day: '07:30:00', time_zone: 'Europe/Berlin' }),
          ],
        }),
      ]) as unknown,
      counts: { motion_detected: 1, snapshots: 0, live_views: 0 },
    });
    expect(new Date(String(line?.occurred_at))).toEqual(world.clock.now());
    expect(JSON.stringify(line)).not.toContain(email);
  });

  test('is exported from a time on; a day begins in UTC, wherever the command runs', async () => {
    const [early, late] = [await removed(), await removed()].map(({ ringUser }) => ringUser.account_id);
    await archivedAt(early, '2001-01-30T23:59:59.999Z');
    await archivedAt(late, '2001-01-31T00:00:00Z');
    const accounts = async (since: string) => (await exported('--since', since)).lines.map((line) => line.account_id);

    expect(await accounts('2001-01-30')).toEqual(expect.arrayContaining([early, late]));
    for (const since of ['2001-01-31', '2001-01-31T00:00:00Z', '2001-01-30T16:00-08:00', '2001-01-31T09:00+09:00']) {
      expect(await accounts(since)).toContain(late);
      expect(await accounts(since)).not.toContain(early);
    }
    const [line] = (await exported('--since', '2001-01-31')).lines;
    expect(line).toMatchObject({ account_id: late, archived_at: '2001-01-31T00:00:00+00:00' });
  });

  test.each(['yesterday', '2001-02-30', '2001', '01/31/2001', '2001-01-31T09:00', '1'])(
    'is not exported since %s, which leaves open when that was',
    async (since) => {
      expect(await exported('--since', since)).toEqual({
        code: 1,
        lines: [],
        stderr: expect.stringMatching(/^--since: expected a day such as .* \(in UTC\)/) as unknown,
      });
    },
  );

  test('is kept for as long as configured, and no longer', async () => {
    const { ringUser } = await removed();
    const archived = () => world.sql('SELECT 1 FROM audit_archive WHERE account_id = $1', [ringUser.account_id]);

    world.clock.advance(RETENTION_DAYS * 86_400 - 60);
    await tickAndFinish('purge the archive', world.url);
    expect(await archived()).toHaveLength(1);

    world.clock.advance(120);
    await tick('purge the archive');
    await until('it is purged', async () => (await archived()).length === 0);
  });

  test('is not shown by a command that knows no database', async () => {
    const command = spawnProcess(process.execPath, [EXPORT], { NODE_ENV: 'production' });
    expect((await command.ended).code).toBe(1);
    expect(command.stderr()).toMatch(/^DATABASE_URL: missing/);
  });
});
