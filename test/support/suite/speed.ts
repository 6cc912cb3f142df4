import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** The time of each probe on two idle cores of ordinary speed, in ms. */
const ORDINARY_MS = { computing: 40, starting: 50 };
const ROUNDS = 3;

/**
 * The factor by which this machine is slower at this moment than an ordinary one with nothing else to do; 1 at least.
 */
export async function measureSlowness(): Promise<number> {
  let slowness = 1;
  for (let round = 0; round < ROUNDS; round++) {
    const computing = await msOf(compute);
    const starting = await msOf(() => execute(process.execPath, ['--eval', '0']));
    slowness = Math.max(slowness, computing / ORDINARY_MS.computing, starting / ORDINARY_MS.starting);
  }
  return slowness;
}

async function msOf(work: () => unknown): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function compute(): number {
  let state = 1;
  for (let step = 0; step < 30_000_000; step++) state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
  return state;
}
