import { randomUUID } from 'node:crypto';
import cron from 'node-cron';
import type { Logger } from 'pino';
import { onBehalfOf } from '../request-id.js';

export interface ClockTask {
  name: string;
  /** Cron expression in UTC. */
  schedule: string;
  /** Safe to run on every instance at once, and again after a crash. */
  run(): Promise<void>;
}

export interface Clocks {
  /** Ends the ticking and waits for the ticks that are under way. */
  stop(): Promise<void>;
}

/** @param onTick hears how each tick of a clock has ended */
export function startClocks(
  tasks: readonly ClockTask[],
  log: Logger,
  onTick: (clock: string, outcome: 'done' | 'failed') => void,
): Clocks {
  const running = new Set<Promise<void>>();
  let isStopped = false;

  async function tick(task: ClockTask): Promise<void> {
    try {
      await task.run();
      onTick(task.name, 'done');
    } catch (error) {
      log.error({ err: error, clock: task.name }, 'a clock tick failed; the next one tries again');
      onTick(task.name, 'failed');
    }
  }

  /** One run at a time: ticks that come meanwhile are made up for by one more. */
  function ticker(task: ClockTask): () => void {
    let isDue = false;
    let isRunning = false;
    async function run(): Promise<void> {
      isRunning = true;
      while (isDue && !isStopped) {
        isDue = false;
        await onBehalfOf(randomUUID(), () => tick(task));
      }
      isRunning = false;
    }
    return () => {
      isDue = true;
      if (isRunning) return;
      const done = run().finally(() => running.delete(done));
      running.add(done);
    };
  }

  const scheduled = tasks.map((task) =>
    cron.schedule(task.schedule, ticker(task), { name: task.name, timezone: 'UTC', logger: cronLogger(log) }),
  );
  return {
    async stop() {
      isStopped = true;
      for (const task of scheduled) await task.destroy();
      await Promise.all(running);
    },
  };
}

/** The library's own messages in our log: it would write to the console. */
function cronLogger(log: Logger) {
  const write = (level: 'debug' | 'warn' | 'error') => (message: string | Error) => {
    log[level]({ message: String(message) }, 'node-cron');
  };
  return { info: write('debug'), debug: write('debug'), warn: write('warn'), error: write('error') };
}
