import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createHashThreads, type HashTask, type HashThreads } from '../../src/users/hash-threads.js';

const hash = (password: string): HashTask => ({
  kind: 'hash',
  password,
  cost: { memoryCost: 8, timeCost: 1, parallelism: 1 },
});

let threads: HashThreads;
beforeEach(() => {
  threads = createHashThreads({ threads: 2, mostWaiting: 3 });
});
afterEach(() => threads.close());

test('a password is hashed, and known by its hash', async () => {
  const passwordHash = String(await threads.run(hash('the one')));
  expect(passwordHash).toMatch(/^\$argon2id\$/);
  expect(await threads.run({ kind: 'verify', passwordHash, password: 'the one' })).toBe(true);
  expect(await threads.run({ kind: 'verify', passwordHash, password: 'another' })).toBe(false);
});

test('two are hashed at a time, three wait, and the next are refused at once until there is room', async () => {
  const answers = Array.from({ length: 8 }, (_, n) => threads.run(hash(`${n}`)));
  expect(threads.usage()).toEqual({ running: 2, waiting: 3 });
  const taken = answers.filter((answer) => answer !== undefined);
  expect(taken).toEqual(answers.slice(0, 5));

  await Promise.all(taken);
  expect(threads.usage()).toEqual({ running: 0, waiting: 0 });
  expect(await threads.run(hash('later'))).toMatch(/^\$argon2id\$/);
});

test('a hash that makes no sense fails alone', async () => {
  const bad = threads.run({ kind: 'verify', passwordHash: 'none', password: 'any' });
  const good = threads.run(hash('good'));
  await expect(bad).rejects.toThrow();
  expect(await good).toMatch(/^\$argon2id\$/);
});

test('what is under way or waits when the threads are closed fails, and so does what comes later', async () => {
  const answers = Array.from({ length: 5 }, (_, n) => threads.run(hash(`${n}`)));
  const settled = Promise.allSettled(answers.filter((answer) => answer !== undefined));
  await threads.close();
  expect((await settled).slice(2).map(({ status }) => status)).toEqual(Array(3).fill('rejected'));
  await expect(threads.run(hash('late'))).rejects.toThrow('closed');
  expect(threads.usage()).toEqual({ running: 0, waiting: 0 });
});
