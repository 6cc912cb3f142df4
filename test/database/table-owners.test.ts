import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';

const SOURCE = new URL('../../../src/', import.meta.url);

/** The files that change the rows of each table. Other files call functions of these. */
const OWNERS: Readonly<Record<keyof Tables, readonly string[]>> = {
  account_links: ['ring-accounts/link-rows.ts'],
  audit_archive: ['inventory/archive.ts'],
  device_events: ['events/record-events.ts'],
  device_histories: ['events/history-rows.ts'],
  devices: ['inventory/device-rows.ts'],
  job_runners: ['jobs/queue.ts'],
  live_views: ['live-views/live-views.ts'],
  picture_requests: ['pictures/picture-requests.ts'],
  // A library writes the rows, and each of the two has keys of its own.
  rate_limits: ['http/rate-limits.ts', 'tokens/call-budget.ts'],
  ring_tokens: ['tokens/pair-rows.ts'],
  scheduled_operations: ['pictures/schedule-rows.ts'],
  service_presence: ['events/presence.ts'],
  sessions: ['users/session.ts'],
  snapshots: ['pictures/pictures.ts'],
  subscriptions: ['inventory/subscriptions.ts'],
  token_exchanges: ['linking/exchange-rows.ts'],
  users: ['users/users.ts'],
  // Deliveries are stored by one statement for many of them.
  webhook_events: ['inbox/event-rows.ts', 'inbox/inbox.ts'],
};

/** Seals under another key what both tables hold sealed, and changes nothing else. */
const CHOOSE_THEIR_TABLE = ['tokens/key-rotation.ts'];

/** The ways in which a source can write to a table: SQL, a builder of Knex, a library that is given the table. */
const WRITES = [
  /\b(?:INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE|(?<!\b(?:FOR|DO)\s+)UPDATE)\s+(?:(?:TABLE|ONLY)\s+)?(?:public\.)?"?(\w+|\$\{)/gi,
  /\(\s*['"`](\w+)['"`]\s*\)/g,
  /\btableName:\s*['"`](\w+)['"`]/g,
];

test('each table is written by the files that own it, and by no other', () => {
  const writers: Record<string, string[]> = Object.fromEntries(Object.keys(OWNERS).map((table) => [table, []]));
  const choosing: string[] = [];
  for (const path of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).sort()) {
    // Neither Ring's client nor the simulator has a database, and words of Ring's are also names of tables.
    if (!path.endsWith('.ts') || /^(?:ring|simulator)\//.test(path)) continue;
    const text = readFileSync(new URL(path, SOURCE), 'utf8');
    const written = new Set(WRITES.flatMap((write) => [...text.matchAll(write)].map(([, table = '']) => table)));
    for (const table of written) writers[table]?.push(path);
    if (written.has('${')) choosing.push(path);
  }
  expect(writers).toEqual(OWNERS);
  expect(choosing).toEqual(CHOOSE_THEIR_TABLE);
});
