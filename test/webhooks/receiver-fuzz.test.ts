import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Answer, deliver, type Envelope, newEvent } from '../support/clients/webhooks.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterEach(async () => {
  // The receiver still works after all the requests.
  expect((await deliver(world.url, JSON.stringify(newEvent()))).status).toBe(200);
});
afterAll(() => world.stop());

async function countRows(): Promise<number> {
  const [row] = await world.sql<{ count: number }>('SELECT count(*)::int AS count FROM webhook_events');
  return row?.count ?? 0;
}

/** Delivers a body once. It is no duplicate of an earlier one. */
async function expectStoredOrRefused(body: string | Buffer): Promise<Answer> {
  const before = await countRows();
  const answer = await deliver(world.url, body);
  const stored = (await countRows()) - before;
  expect([
    { status: 200, stored: 1 },
    { status: 400, stored: 0 },
  ]).toContainEqual({ status: answer.status, stored });
  return answer;
}

/** Every place in an event, as the path of names that leads there. */
function placesOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  const inside = Object.entries(value).flatMap(([name, member]) => placesOf(member, [...path, name]));
  return path.length === 0 ? inside : [path, ...inside];
}

function change(event: Envelope, path: readonly string[], to: (parent: Record<string, unknown>, name: string) => void) {
  const names = [...path];
  const last = names.pop() ?? '';
  let parent = event as unknown as Record<string, unknown>;
  for (const name of names) parent = parent[name] as Record<string, unknown>;
  to(parent, last);
}

const TYPES = ['motion_detected', 'device_online', 'app_integration_added', 'subscription_activated', 'new_type'];
const type = fc.constantFrom(...TYPES);
const place = fc.constantFrom(...placesOf(newEvent()));
const value = fc.oneof(
  fc.jsonValue({ noUnicodeString: false }),
  fc.string({ unit: 'binary', maxLength: 600 }),
  fc.double(),
  fc.constantFrom('', '.', '..', '\0', '\ud800', '__proto__', '\u202e', 'x'.repeat(10_000), -0, 2 ** 53, 1e308),
);

describe('whatever is signed', () => {
  test('as bytes is stored or refused, and never our fault', async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 2_000 }).map((array) => Buffer.from(array)),
      fc.string({ unit: 'binary', maxLength: 500 }),
      fc.json({ noUnicodeString: false }),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (body) => {
        await expectStoredOrRefused(body);
      }),
      { numRuns: 300 },
    );
  });

  test('as an event with another value somewhere is stored or refused', async () => {
    await fc.assert(
      fc.asyncProperty(type, place, value, async (eventType, path, instead) => {
        const event = newEvent({ type: eventType });
        change(event, path, (parent, name) => (parent[name] = instead));
        await expectStoredOrRefused(JSON.stringify(event));
      }),
      { numRuns: 400 },
    );
  });

  test('as an event that lacks something or has too much is stored or refused', async () => {
    const name = fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom('__proto__', 'constructor', 'subType', 'id'));
    await fc.assert(
      fc.asyncProperty(type, place, name, value, async (eventType, path, extra, more) => {
        const lacking = newEvent({ type: eventType });
        change(lacking, path, (parent, member) => Reflect.deleteProperty(parent, member));
        await expectStoredOrRefused(JSON.stringify(lacking));

        const event = newEvent({ type: eventType });
        const body = JSON.stringify(event).replace(/^\{/, `{${JSON.stringify(extra)}:${JSON.stringify(more)},`);
        await expectStoredOrRefused(body);
      }),
      { numRuns: 150 },
    );
  });

  test('as an event with some bytes changed, lost or added is stored or refused', async () => {
    const edit = fc.record({ at: fc.nat(), remove: fc.nat({ max: 3 }), insert: fc.uint8Array({ maxLength: 3 }) });
    await fc.assert(
      fc.asyncProperty(type, fc.array(edit, { minLength: 1, maxLength: 4 }), async (eventType, edits) => {
        let body = Buffer.from(JSON.stringify(newEvent({ type: eventType })));
        for (const { at, remove, insert } of edits) {
          const start = at % body.length;
          body = Buffer.concat([body.subarray(0, start), insert, body.subarray(start + remove)]);
        }
        await expectStoredOrRefused(body);
      }),
      { numRuns: 300 },
    );
  });
});
