import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { until } from '../support/waiting/until.js';
import { freePort, startWorld, type World } from '../support/worlds/world.js';

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

let world: World;
const children: ChildProcess[] = [];
beforeAll(async () => {
  world = await startWorld();
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await world.stop();
});

/** An instance in a process of its own, which can be killed. */
async function startProcess(): Promise<{ url: string; kill9(): Promise<void> }> {
  const port = await freePort();
  const env = { PATH: process.env.PATH, ...world.environment, PORT: `${port}`, LOG_LEVEL: 'silent' };
  const child = spawn(process.execPath, [MAIN], { env, stdio: 'ignore' });
  children.push(child);
  const url = `http://localhost:${port}`;
  await until('the process answers', () =>
    fetch(`${url}/livez`).then(
      ({ ok }) => ok,
      () => false as const,
    ),
  );
  return {
    url,
    async kill9() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}

const send = (url: string, code: string) =>
  fetch(`${url}/ring/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code }),
  });

test('a code whose exchange died with its process is answered 503 by the others, and never sent to Ring again', async () => {
  const process = await startProcess();
  const user = await world.ring.createUser();
  const { code } = await world.ring.issueCode(user);
  const exchanges = async () =>
    (await world.ring.requests()).filter(
      ({ path, account_id }) => path === '/oauth/token' && account_id === user.account_id,
    ).length;
  await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'silence' }, when: 'after', times: 1 }]);
  const unanswered = send(process.url, code).then(
    () => 'answered',
    () => 'cut off',
  );
  await until('Ring is asked', async () => (await exchanges()) === 1);
  await process.kill9();
  expect(await unanswered).toBe('cut off');

  // The time of Ring's own retry, long after any exchange can be under way.
  world.clock.advance(50);
  const answers = await Promise.all([send(world.url, code), send(world.url, code)]);
  for (const answer of answers) {
    expect(answer.status).toBe(503);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json\b/);
    expect(await answer.text()).not.toContain(code);
  }
  expect(await exchanges()).toBe(1);

  // The advice in the answer works: remove the app and add it again.
  expect((await world.ring.install(user)).callback?.status).toBe(200);
});
