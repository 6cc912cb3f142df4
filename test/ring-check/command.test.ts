import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Simulator, startRecordedRing } from '../../src/simulator/simulator.js';
import { closeStandIns, listenAndAnswer } from '../support/clients/stand-in.js';

const COMMAND = fileURLToPath(new URL('../../src/commands/ring-check.js', import.meta.url));
const TOKEN = 'playground-token-5e17';

let ring: Simulator;
beforeAll(async () => {
  ring = await startRecordedRing({ port: 0, token: TOKEN });
});
afterAll(() => ring.close());
afterEach(closeStandIns);

/** Runs the command as the production image would. */
function run(variables: Record<string, string>, ...args: string[]) {
  const env = { NODE_ENV: 'production', RING_API_URL: ring.url, ...variables };
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [COMMAND, ...args], { env, cwd: '/' }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

test('ends with 0 when everything that was answered fits', async () => {
  const { code, stdout, stderr } = await run({ RING_PLAYGROUND_TOKEN: ` ${TOKEN}\n` });
  expect(stderr).toBe('');
  expect(stdout).toContain('Everything that was answered fits');
  expect(stdout).not.toContain(TOKEN);
  expect(code).toBe(0);
});

test('ends with 1 when something does not fit', async () => {
  const odd = await listenAndAnswer(200, JSON.stringify({ data: 'not a list' }));
  const { code, stdout } = await run({ RING_PLAYGROUND_TOKEN: TOKEN, RING_API_URL: odd.url });
  expect(stdout).toContain('    data (string)\n');
  expect(stdout).not.toContain('not a list');
  expect(code).toBe(1);
});

test('ends with 1 when nobody answers', async () => {
  const gone = await listenAndAnswer(200, '');
  closeStandIns();
  const { code, stdout } = await run({ RING_PLAYGROUND_TOKEN: TOKEN, RING_API_URL: gone.url });
  expect(stdout).toContain('does not fit (unreachable)');
  expect(stdout).toMatch(/Ring has answered nothing: is RING_API_URL right.*\n$/);
  expect(code).toBe(1);
});

describe('ends with 2 and one line, which repeats no token,', () => {
  test.each<[string, Record<string, string>, string[], RegExp]>([
    ['without a token', {}, [], /^RING_PLAYGROUND_TOKEN: missing; expected .*developer console/],
    ['for an empty token', { RING_PLAYGROUND_TOKEN: ' ' }, [], /^RING_PLAYGROUND_TOKEN: missing/],
    ['for a token that is none', { RING_PLAYGROUND_TOKEN: `${TOKEN} x` }, [], /^RING_PLAYGROUND_TOKEN: expected/],
    ['for a token that Ring refuses', { RING_PLAYGROUND_TOKEN: `${TOKEN}x` }, [], /^RING_PLAYGROUND_TOKEN: Ring does/],
    [
      'for a token among the arguments',
      { RING_PLAYGROUND_TOKEN: TOKEN },
      [TOKEN],
      /^expected no argument, or --record/,
    ],
    ['for an unknown option', { RING_PLAYGROUND_TOKEN: TOKEN }, [`--token=${TOKEN}`], /^expected no argument/],
    ['for --record without a folder', { RING_PLAYGROUND_TOKEN: TOKEN }, ['--record'], /^expected no argument/],
    [
      'for an address that is none',
      { RING_PLAYGROUND_TOKEN: TOKEN, RING_API_URL: TOKEN },
      [],
      /^RING_API_URL: expected/,
    ],
    [
      'for plain http in production',
      { RING_PLAYGROUND_TOKEN: TOKEN, RING_API_URL: 'http://ring.example.com' },
      [],
      /^RING_API_URL: expected an https/,
    ],
  ])('%s', async (_when, variables, args, line) => {
    const { code, stdout, stderr } = await run(variables, ...args);
    expect(stderr).toMatch(line);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stdout + stderr).not.toContain(TOKEN);
    expect(code).toBe(2);
  });
});

describe('--record', () => {
  test('keeps each answer, without identifiers', async () => {
    const folder = join(mkdtempSync(join(tmpdir(), 'ring-check-')), 'answers');
    expect(await run({ RING_PLAYGROUND_TOKEN: TOKEN }, '--record', folder)).toMatchObject({ code: 0, stderr: '' });

    const names = readdirSync(folder);
    expect(names).toHaveLength(20);
    expect(names).toEqual(
      expect.arrayContaining([
        'devices.json',
        'device-1-status.json',
        'device-1-history-on_demand.json',
        'device-1-picture-without-body.403.json',
        'subscriptions.422.json',
        'user.json',
      ]),
    );
    const text = names.map((name) => readFileSync(join(folder, name), 'utf8')).join('');
    expect(text).not.toMatch(/Playground|AAAA1111|GGGG6666|FFFF0001|bac09fbb|app-content/);
    expect(text).toContain('"max_resolution": 1080');
    expect(text).toContain('"start": 1789513622925');
  });

  test('leaves a folder alone that is not empty', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-check-'));
    writeFileSync(join(folder, 'mine.txt'), 'mine');
    const { code, stderr } = await run({ RING_PLAYGROUND_TOKEN: TOKEN }, '--record', folder);
    expect(stderr).toBe('--record: the folder is not empty\n');
    expect(code).toBe(2);
    expect(readdirSync(folder)).toEqual(['mine.txt']);
  });
});
