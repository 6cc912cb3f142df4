import { afterEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { type PeriodicTask, type PeriodicTasks, startPeriodicTasks } from '../../src/jobs/periodic.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';

let running: PeriodicTasks | undefined;
/** Functions that end the runs that have begun. */
let ends: (() => void)[] = [];
afterEach(async () => {
  const stopping = running?.stop();
  endAll();
  await stopping;
});

function endAll(): void {
  for (const end of ends) end();
  ends = [];
}

function start(...wanted: PeriodicTask[]): void {
  running = startPeriodicTasks(wanted, pino({ level: 'silent' }), () => undefined);
}

/** A task whose runs last until the test ends them. */
function slowTask(cronExpression: string): { task: PeriodicTask; seen: { begun: number; now: number; most: number } } {
  const seen = { begun: 0, now: 0, most: 0 };
  const task: PeriodicTask = {
    name: 'slow',
    cronExpression,
    async run() {
      seen.begun++;
      seen.now++;
      seen.most = Math.max(seen.most, seen.now);
      await new Promise<void>((resolve) => ends.push(resolve));
      seen.now--;
    },
  };
  return { task, seen };
}

const untilBegun = (seen: { begun: number }, runs: number) =>
  until(`run ${runs} has begun`, () => Promise.resolve(seen.begun >= runs));

test('runs that take longer than the time between them do not overlap, and keep no other task waiting', async () => {
  const { task, seen } = slowTask('* * * * * *');
  let ticks = 0;
  start(task, {
    name: 'fast',
    cronExpression: '* * * * * *',
    run() {
      ticks++;
      return Promise.resolve();
    },
  });
  await untilBegun(seen, 1);
  const before = ticks;

  await until('three seconds have struck', () => Promise.resolve(ticks >= before + 3));

  expect(seen).toEqual({ begun: 1, now: 1, most: 1 });
  endAll();
  await untilBegun(seen, 2);
  expect(seen.most).toBe(1);
});

test('times that pass during a run are made up for by one more run', async () => {
  const { task, seen } = slowTask('0 0 1 1 *');
  start(task);
  await tick('slow');
  await untilBegun(seen, 1);

  for (let missed = 0; missed < 3; missed++) await tick('slow');
  endAll();
  await untilBegun(seen, 2);
  endAll();
  await until('it is over', () => Promise.resolve(seen.now === 0));

  await running?.stop();
  expect(seen).toEqual({ begun: 2, now: 0, most: 1 });
});
