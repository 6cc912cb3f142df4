import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { readEnvironment } from '../../src/simulator/environment.js';

const MAIN = fileURLToPath(new URL('../../src/simulator/main.js', import.meta.url));

const GOOD = {
  APP_PUBLIC_URL: 'https://app.example.com',
  RING_CLIENT_ID: 'id',
  RING_CLIENT_SECRET: 'secret',
  RING_HMAC_KEY: 'key',
};

async function run(environment: Record<string, string>, whenItPrints?: (output: string, stop: () => void) => void) {
  const child = spawn(process.execPath, [MAIN], { env: environment });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    output.stdout += chunk.toString();
    whenItPrints?.(output.stdout, () => child.kill('SIGTERM'));
  });
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, ...output };
}

test('the process prints its address and ends cleanly on SIGTERM', async () => {
  const ended = await run({ ...GOOD, PORT: '0', HOST: '127.0.0.1' }, (output, stop) => {
    if (output.includes('Ring simulator: http://localhost:')) stop();
  });
  expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
});

test('a bad environment ends it with one line for each bad variable, and no value', async () => {
  const ended = await run({ ...GOOD, PORT: '99999', APP_PUBLIC_URL: 'ftp://private', RING_HMAC_KEY: '' });
  expect(ended.code).toBe(1);
  expect(ended.stderr.trim().split('\n')).toEqual([
    'PORT: expected a port number, 0 to 65534',
    'APP_PUBLIC_URL: expected a URL that begins with http:// or https://',
    'RING_HMAC_KEY: expected a text that is not empty',
  ]);
});

test('port 3001 and all interfaces unless given, and empty variables count as unset', () => {
  expect(readEnvironment({ ...GOOD, PORT: '', PUBLIC_URL: '' })).toMatchObject({
    kind: 'good',
    options: { port: 3001, host: '0.0.0.0' },
  });
});

test('a token for recorded answers is enough, and no app is needed', () => {
  expect(readEnvironment({ RECORDED_TOKEN: 'token' })).toMatchObject({
    kind: 'good',
    options: { port: 3001, recordedToken: 'token' },
  });
});
