import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { type Answer, send } from '../support/clients/http.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { inboxOf } from '../support/features/inbox.js';
import { arriving, installed, isErased, linksOf, pairsOf } from '../support/features/linking.js';
import { closeLiveView, openLiveView } from '../support/features/live-views.js';
import { tracesOf } from '../support/inspection/traces.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { startWorld, type World } from '../support/worlds/world.js';

/**
 * Everything at once, for a while, on two instances; then all data has to be in order. The seed, which stands in the
 * name of the tests, decides what each account does. The machine decides when that meets what the others do.
 */
const SEED = Number(process.env.CHAOS_SEED ?? randomInt(2 ** 31));
const ACCOUNTS = 8;
const DURATION_MS = 15_000;
const AT_ONCE = 4;

const EVENTS = [
  'motion_detected',
  'button_press',
  'device_online',
  'device_offline',
  'device_added',
  'device_removed',
  'subscription_activated',
  'app_integration_added',
];

let world: World;
let origins: string[];
let owners: Owner[];
/** Answers that Ring has not caused and that must not occur. */
const failures: string[] = [];

beforeAll(async () => {
  world = await startWorld({ ringTimeoutMs: scaled(3_000) });
  origins = [world.url, `http://localhost:${(await world.startAnother()).port}`];
  owners = await Promise.all(Array.from({ length: ACCOUNTS }, () => sharing(world)));
});
afterAll(() => world.stop());

/** Numbers from 0 to 1 that are always the same for a seed: mulberry32. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Life {
  readonly #random: () => number;

  constructor(
    readonly owner: Owner,
    seed: number,
  ) {
    this.#random = randomNumbers(seed);
  }

  async live(untilMs: number): Promise<void> {
    while (performance.now() < untilMs) {
      await Promise.all(Array.from({ length: AT_ONCE }, () => this.#doSomething()));
      world.clock.advance(0.25);
      if ((await linksOf(world, this.owner.ringUser)).every(({ status }) => status === 'REMOVED')) await this.#relink();
    }
  }

  async #doSomething(): Promise<void> {
    const origin = this.#pick(origins);
    const chance = this.#random();
    if (chance < 0.6) await this.#send(origin, this.#pick(EVENTS));
    else if (chance < 0.72) await this.#watch(origin);
    else if (chance < 0.8) await this.#schedule(origin);
    else if (chance < 0.86) await this.#takePictures();
    else if (chance < 0.96) await this.#look(origin);
    else await this.#send(origin, 'app_integration_removed');
  }

  async #send(origin: string, type: string): Promise<void> {
    // Events are late by up to 20 s. The end of the integration is sent at once.
    const lateMs = type === 'app_integration_removed' ? 0 : Math.floor(this.#random() * 20_000);
    const event = newEvent({
      accountId: this.owner.ringUser.account_id,
      deviceId: this.#pick([this.owner.device.id, this.owner.device.id, `${this.owner.device.id}-ghost`]),
      type,
      timestamp: world.clock.now().getTime() - lateMs,
    });
    const { status } = await deliver(origin, JSON.stringify(event));
    if (status !== 200) failures.push(`${type}: ${status}`);
  }

  async #watch(origin: string): Promise<void> {
    const answer = await openLiveView(origin, this.owner);
    // Ring no longer has the device, or the token.
    if (answer.status >= 500 && !/Ring could not open|The device is offline right now/.test(answer.text)) {
      note('live view', answer);
    }
    if (answer.location !== null && this.#random() < 0.5) {
      note('close', await closeLiveView(origin, this.owner, answer.location));
    }
  }

  async #schedule(origin: string): Promise<void> {
    const { path, visitor, csrfToken } = this.owner;
    const form = { _csrf: csrfToken, frequency: 'HOURLY' };
    note('schedule', await send(origin, `${path}/scheduled-operations`, { cookie: visitor.cookie, form }));
  }

  async #takePictures(): Promise<void> {
    await world.sql(
      `UPDATE scheduled_operations SET next_run_at = created_at WHERE account_id = $1 AND status = 'ACTIVE'`,
      [this.owner.ringUser.account_id],
    );
    await tick('start due snapshots');
  }

  async #look(origin: string): Promise<void> {
    const { path, visitor } = this.owner;
    note('page', await send(origin, this.#pick(['/ring/home', path]), { cookie: visitor.cookie }));
  }

  async #relink(): Promise<void> {
    // Later than the removal by more than two clocks may differ.
    world.clock.advance(7);
    const { ringUser, visitor } = this.owner;
    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');
    if (visitor.page.status >= 500) failures.push(`link: ${visitor.page.status}`);
  }

  #pick<Choice>(choices: readonly Choice[]): Choice {
    return choices[Math.floor(this.#random() * choices.length)] as Choice;
  }
}

function note(what: string, { status, text }: Answer): void {
  if (status >= 500) failures.push(`${what}: ${status} ${text}`);
}

async function inEnd({ ringUser }: Owner): Promise<boolean> {
  return (await linksOf(world, ringUser)).every(({ status }) => status === 'REMOVED');
}

describe(`after chaos with CHAOS_SEED=${SEED}`, () => {
  beforeAll(async () => {
    const end = performance.now() + DURATION_MS;
    await Promise.all(owners.map((owner, index) => new Life(owner, SEED + index).live(end)));
    await untilJobsAreDone(world);
    // Half of the users leave for good.
    world.clock.advance(60);
    for (const { ringUser } of owners.slice(ACCOUNTS / 2)) {
      const event = newEvent({
        accountId: ringUser.account_id,
        type: 'app_integration_removed',
        timestamp: world.clock.now().getTime(),
      });
      await deliver(world.url, JSON.stringify(event));
    }
    await untilJobsAreDone(world);
  });

  test('no request failed unless Ring caused it, and there was no deadlock', () => {
    expect(failures).toEqual([]);
    expect(world.log.filter((line) => line.includes('deadlock'))).toEqual([]);
    expect(world.log.filter((line) => line.includes('"level":50') || line.includes('"level":60'))).toEqual([]);
  });

  test('every event of a linked account is applied', async () => {
    const waiting = await world.sql(
      `SELECT event.type, event.status, event.last_error
         FROM webhook_events event JOIN account_links link USING (account_id)
        WHERE link.status = 'COMPLETED' AND event.status IN ('PENDING', 'FAILED')`,
    );
    expect(waiting).toEqual([]);
    expect(await world.sql('SELECT type FROM webhook_events WHERE last_error IS NOT NULL')).toEqual([]);
  });

  test('every link is completed or removed, and the end of each that is removed is archived once', async () => {
    const links = await world.sql<Pick<Tables['account_links'], 'id' | 'status'>>(
      'SELECT id, status FROM account_links ORDER BY id',
    );
    const archived = await world.sql<Pick<Tables['audit_archive'], 'link_id'>>(
      `SELECT link_id FROM audit_archive WHERE kind = 'LINK_REMOVED' ORDER BY link_id`,
    );

    expect([...new Set(links.map(({ status }) => status))].sort()).toEqual(['COMPLETED', 'REMOVED']);
    const removed = links.filter(({ status }) => status === 'REMOVED');
    expect(removed.length).toBeGreaterThanOrEqual(ACCOUNTS / 2);
    expect(archived.map(({ link_id }) => link_id)).toEqual(removed.map(({ id }) => id));
  });

  test('nothing is left of users who have left but their archive and the rows that recognise their events', async () => {
    // Until then, live views stay, so that their users are told why they ended.
    world.clock.advance(24 * 60 * 60 + 1);
    await tick('forget ended live views');

    for (const owner of owners.slice(ACCOUNTS / 2)) {
      expect(await inEnd(owner)).toBe(true);
      expect(await tracesOf(world, owner.ringUser.account_id)).toEqual([
        'account_links',
        'audit_archive',
        'ring_tokens',
        'webhook_events',
      ]);
      expect((await inboxOf(world, owner.ringUser)).filter(({ body }) => body !== null)).toEqual([]);
      expect((await pairsOf(world, owner.ringUser)).every(isErased)).toBe(true);
    }
  });
});
