import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilProcessed } from '../support/features/inbox.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { linked } from '../support/features/linking.js';
import { type RewritingWorld, startRewritingWorld } from '../support/clients/rewriting.js';
import { closeStandIns } from '../support/clients/stand-in.js';
import { until } from '../support/waiting/until.js';
import { recordedAnswer } from '../support/worlds/recorded.js';

let world: RewritingWorld;
beforeAll(async () => {
  world = await startRewritingWorld();
  // What happens is newer than the state in which Ring has begun.
  world.clock.advance(3_600);
});
afterEach(() => {
  world.rewrite((answer) => answer);
});
afterAll(async () => {
  await world.stop();
  closeStandIns();
});

const fromNow = (seconds: number): Date => new Date(world.clock.now().getTime() + seconds * 1_000);

async function tell({ ringUser }: Owner, type: string, at: Date): Promise<void> {
  await world.ring.sendEvent({ user_id: ringUser.id, type, effect: false, timestamp: at.getTime() });
  await untilProcessed(world, ringUser);
}

/** Has Ring answer with this status, and the app ask because its user looks at the page after a while. */
async function answered(owner: Owner, online: boolean, reportedAt: string | null): Promise<string> {
  const told = reportedAt === null ? 'null' : `"${reportedAt}"`;
  world.rewrite((answer) =>
    answer
      .replace(/"online":(true|false)/, `"online":${online}`)
      .replace(/"reported_at":"[^"]*"/, `"reported_at":${told}`),
  );
  await world.sql(`UPDATE devices SET fetched_at = fetched_at - interval '11 minutes' WHERE account_id = $1`, [
    owner.ringUser.account_id,
  ]);
  await owner.visitor.open(owner.path);
  await untilJobsAreDone(world, 'fetch_device');
  return statusOn((await owner.visitor.open(owner.path)).text);
}

/** The status on the page of a device, as a reader reads it, with the time as it is written for machines. */
function statusOn(html: string): string {
  const [, words = '', more = ''] =
    /<p class="status">([^<]*)<\/p>\s*(?:<p class="muted">([\s\S]*?)<\/p>)?/.exec(html) ?? [];
  return `${words} ${more.replace(/<time datetime="([^"]*)">[^<]*<\/time>/, '$1')}`.trim();
}

describe('Ring’s time of a status', () => {
  test('decides: an answer that is older than the word of a webhook does not undo it', async () => {
    const owner = await sharing(world);
    const at = fromNow(-60);
    await tell(owner, 'device_offline', at);

    expect(await answered(owner, true, fromNow(-90).toISOString())).toBe(`Offline since ${at.toISOString()}`);
  });

  test('decides: an answer that is newer than the word of a webhook replaces it', async () => {
    const owner = await sharing(world);
    await tell(owner, 'device_offline', fromNow(-60));
    const at = fromNow(-30).toISOString();

    expect(await answered(owner, true, at)).toBe(`Online as of ${at}`);
  });

  test('decides: a webhook that is late does not undo a newer answer, and a newer one replaces it', async () => {
    const owner = await sharing(world);
    const at = fromNow(-30).toISOString();
    await answered(owner, true, at);

    await tell(owner, 'device_offline', fromNow(-40));
    expect(statusOn((await owner.visitor.open(owner.path)).text)).toBe(`Online as of ${at}`);

    await tell(owner, 'device_offline', fromNow(-20));
    expect(statusOn((await owner.visitor.open(owner.path)).text)).toBe(`Offline since ${fromNow(-20).toISOString()}`);
  });

  test('in whole seconds means all of that second', async () => {
    const owner = await sharing(world);
    await answered(owner, true, `${fromNow(-3_600).toISOString().slice(0, 19)}Z`);
    const second = fromNow(-60).toISOString().slice(0, 19);
    await tell(owner, 'device_offline', new Date(`${second}.600Z`));

    expect(await answered(owner, true, `${second}Z`)).toBe(`Online as of ${second}.999Z`);
  });

  test.each([
    ['of the far future', '9999-12-31T23:59:59Z'],
    ['of a few minutes ahead', () => fromNow(300).toISOString()],
    ['of the far past', '0001-01-01T00:00:00Z'],
    ['of 1970', '1970-01-01T00:00:00Z'],
    ['that is none', 'yesterday'],
    ['that is missing', null],
  ])('%s does not count: it is so when Ring is asked', async (_what, time) => {
    const owner = await sharing(world);
    await tell(owner, 'device_offline', fromNow(-60));

    const reportedAt = typeof time === 'function' ? time() : time;
    // Ring's clock may be 5 s behind ours.
    expect(await answered(owner, true, reportedAt)).toBe(`Online as of ${fromNow(-5).toISOString()}`);

    world.clock.advance(60);
    await tell(owner, 'device_offline', fromNow(-1));
    expect(statusOn((await owner.visitor.open(owner.path)).text)).toBe(`Offline since ${fromNow(-1).toISOString()}`);
  });
});

describe('a device as the real Ring has told of it', () => {
  const recorded = recordedAnswer('devices');
  const DEVICE = 'ava1.ring.device.AAAA1111';

  test('is shown with its resolution, its pictures, and when Ring heard of it', async () => {
    world.rewrite(() => recorded);
    const { visitor, ringUser } = await linked(world, await world.ring.createUser());
    await until('the device is known', async () => {
      const known = await world.sql('SELECT 1 FROM devices WHERE account_id = $1 AND id = $2 AND name IS NOT NULL', [
        ringUser.account_id,
        DEVICE,
      ]);
      return known.length > 0;
    });

    const { text } = await visitor.open(`/devices/${DEVICE}`);

    expect(text).toContain('<h1>Playground Device</h1>');
    expect(text).toContain('<p class="muted">Camera · CA, US</p>');
    expect(statusOn(text)).toBe('Online as of 2026-09-15T12:45:03.999Z');
    const facts = [...text.matchAll(/<dt>([^<]*)<\/dt>\s*<dd>([^<]*)<\/dd>/g)].map(([, name, value]) => [name, value]);
    expect(facts).toEqual([
      ['Video', 'Up to 1080p'],
      ['Video formats', 'AVC'],
      ['Picture shape', '16:9'],
      ['Motion detection', 'On'],
      ['Motion zones', '1'],
      ['Colour night vision', 'Off'],
      ['Infrared night vision', 'Off'],
      ['HDR (detail in bright and dark parts)', 'Off'],
      ['Zooming in on what moves', 'Off'],
      ['Still pictures', 'Available'],
      ['Privacy zones', 'None set up'],
    ]);
    expect(text).toContain('Watch live');
    expect(text).not.toContain('id="sensors"');
  });
});
