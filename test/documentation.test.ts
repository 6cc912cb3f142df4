import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { environmentSchema } from '../src/configuration/config.js';
import { STREAM_PLACES } from '../src/events/event-streams.js';
import { BODY_LIMITS } from '../src/http/body-limits.js';
import type { PlaceBounds } from '../src/http/places.js';
import { AROUND, RATES } from '../src/http/rate-limits.js';
import { CODE_PLACES } from '../src/linking/code-turns.js';
import { OPENING_PLACES } from '../src/live-views/live-view-routes.js';
import { DOWNLOAD_PLACES } from '../src/my-data/download.js';
import { CLIP_PLACES } from '../src/pages/recording-pages.js';
import { HISTORY_SHARE, PICTURE_SHARE, REFRESH_SHARE, type Share } from '../src/tokens/call-budget.js';
import { WAITING_FOR_EACH } from '../src/users/hash-threads.js';
import { BODIES } from '../src/webhooks/receiver.js';
import { DOCUMENTS, namedInDocuments, PROJECT, readProjectFile } from './support/inspection/documents.js';

const execute = promisify(execFile);

const { scripts } = JSON.parse(readProjectFile('package.json')) as { scripts: Record<string, string> };
/** Scripts that npm itself runs. */
const NPM_HOOKS = ['prepare'];
const NPM_COMMANDS = ['ci', 'install'];

const filesIn = (directory: string): string[] =>
  readdirSync(new URL(directory, PROJECT), { recursive: true }).map((name) => `${directory}${String(name)}`);
const unique = (names: string[]): string[] => [...new Set(names)].sort();

describe('variables', () => {
  const variables = Object.keys(environmentSchema(true, undefined).shape);
  const [, configuration = ''] = /^## Configuration\n(.*?)^## /ms.exec(DOCUMENTS.get('README.md') ?? '') ?? [];

  test('that the service reads have a row in the README, and there is no other', () => {
    const rows = configuration.split('\n').filter((line) => line.startsWith('| `'));
    const named = rows.flatMap((row) => [...(row.split(' | ')[0] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(named.sort()).toEqual(variables.sort());
  });

  test('that a document names are read by the service; other words of that form stand in its source', () => {
    const source = [...filesIn('src/'), ...filesIn('migrations/')]
      .filter((path) => path.endsWith('.ts'))
      .map(readProjectFile)
      .join('\n');
    const unknown = namedInDocuments(/`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`/g).filter(
      ({ name }) => !variables.includes(name) && !source.includes(`'${name}'`),
    );
    expect(unknown).toEqual([]);
  });
});

describe('limits', () => {
  const number = (value: number) => value.toLocaleString('en-US');
  const durations: Record<number, string> = { 1: 'a second', 60: 'a minute', 3600: 'an hour' };
  const within = (seconds: number) => durations[seconds] ?? `${seconds / 60} minutes`;
  const places = ({ ofUser, ofNetwork, ofProcess }: PlaceBounds) =>
    `${number(ofUser)} of a user, ${number(ofNetwork)} of a network, ${number(ofProcess)} in all`;
  const share = ({ calls, windowMs }: Share, what: string) => `${(calls * 1_000) / windowMs} ${what} in a second`;
  const mega = (bytes: number) => `${bytes / 1_024 / 1_024} MB`;
  const { inside, waitingOfNetwork, waitingOfProcess } = CODE_PLACES;

  const limits: Record<string, string> = {
    ...Object.fromEntries(
      Object.entries(RATES).map(([name, { times, seconds }]) => [name, `${number(times)} in ${within(seconds)}`]),
    ),
    code_request: `${inside} let in and ${waitingOfNetwork} waiting of a network, ${number(waitingOfProcess)} waiting in all`,
    password: `${WAITING_FOR_EACH} waiting for each thread`,
    event_stream: places(STREAM_PLACES),
    opening_live_view: places(OPENING_PLACES),
    clip_stream: places(CLIP_PLACES),
    open_download: places(DOWNLOAD_PLACES),
    refreshes: share(REFRESH_SHARE, 'calls'),
    histories: share(HISTORY_SHARE, 'calls'),
    event_pictures: share(PICTURE_SHARE, 'pictures'),
    webhook: `${BODIES.limit / 1_024} kB; ${mega(BODIES.mostHeldOfSender)} held of a network, ${mega(BODIES.mostHeld)} held in all`,
    ...Object.fromEntries(Object.entries(BODY_LIMITS).map(([name, limit]) => [name, limit.replace('kb', ' kB')])),
  };
  const [, section = ''] = /^## Limits\n(.*?)^## /ms.exec(DOCUMENTS.get('README.md') ?? '') ?? [];
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((row) => row.split('|').map((cell) => cell.trim()));

  test('stand in the table of the README as they are in the source, and no other does', () => {
    const documented = Object.fromEntries(rows.map(([, name = '', bound = '']) => [name.replaceAll('`', ''), bound]));
    expect(documented).toEqual(limits);
    expect(rows).toHaveLength(Object.keys(limits).length);
  });

  test('each have who is counted, and a reason', () => {
    for (const [, , , counted = '', reason = ''] of rows) expect([counted, reason]).not.toContain('');
  });

  test('of a /48 are so many times those of a network as the README says', () => {
    expect(AROUND).toBe(10);
    expect(section.replaceAll('\n', ' ')).toContain('The /48 around it may do ten times as much.');
  });
});

describe('npm commands', () => {
  const named = namedInDocuments(/\bnpm ((?:run (?:--silent )?)?[a-z][a-z:-]*)/g).map(({ name, path }) => ({
    name: name.replace(/^run (--silent )?/, ''),
    path,
  }));

  test('are all documented', () => {
    const commands = Object.keys(scripts).filter((name) => !NPM_HOOKS.includes(name));
    const documented = new Set(named.map(({ name }) => name));
    expect(commands.filter((name) => !documented.has(name))).toEqual([]);
  });

  test('that are documented exist', () => {
    expect(named.filter(({ name }) => !(name in scripts) && !NPM_COMMANDS.includes(name))).toEqual([]);
  });

  const own = Object.entries(scripts).flatMap(([name, script]) => {
    const [, path] = /\bnode (?:--[\w-]+ )*(dist\/(?:src|bench)\/\S+\.js)/.exec(script) ?? [];
    return path === undefined ? [] : [{ name, path }];
  });

  test('are all found, of those that run our own code', () => {
    const commands = filesIn('src/commands/').filter((path) => !path.endsWith('/command.ts'));
    const run = own.map(({ path }) => path.replace(/^dist\/(.*)\.js$/, '$1.ts'));
    expect(unique(run)).toEqual(unique(['bench/main.ts', 'src/main.ts', 'src/development/tables.ts', ...commands]));
  });

  test.each(own)('$name --help says what it does and how it is called, without any setting', async ({ name, path }) => {
    const options = { env: { NODE_ENV: 'production' }, cwd: '/' };
    const { stdout, stderr } = await execute(
      process.execPath,
      [fileURLToPath(new URL(path, PROJECT)), '--help'],
      options,
    );
    expect(stdout).toMatch(/^[A-Z][^\n]+\n/);
    expect(stdout).toMatch(new RegExp(`^ {4}npm (run (--silent )?)?${name}\\b`, 'm'));
    expect(stderr).toBe('');
  });
});

test('paths that a document names exist', () => {
  const named = namedInDocuments(/[`(]((?:src|test|bench|views|migrations|ops|\.githooks)\/[\w./-]*)/g);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter(({ name }) => !existsSync(new URL(name, PROJECT)))).toEqual([]);
});

test('the map of rooms has a row for every room of the source, and for no other', () => {
  const [, map = ''] = /^## Rooms\n(.*?)^## /ms.exec(DOCUMENTS.get('CONTRIBUTING.md') ?? '') ?? [];
  const named = map
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((row) => [...(row.split(' | ')[0] ?? '').matchAll(/`([\w./-]+?)\/?`/g)].map(([, name = '']) => name));
  // The simulator is not one of the rooms.
  const rooms = readdirSync(new URL('src/', PROJECT)).filter((name) => name !== 'simulator');
  expect(named.sort()).toEqual(rooms.sort());
});
