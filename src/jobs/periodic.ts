import { randomUUID } from 'node:crypto';
import cron from 'node-cron';
import type { Logger } from 'pino';
import { onBehalfOf } from '../request-id.js';

export interface PeriodicTask {
  name: string;
  /** In UTC. */
  cronExpression: string;
  /** Safe to run on every instance at once, and again after a crash. */
  run(): Promise<void>;
}

export interface PeriodicTasks {
  /** Starts no more runs, and waits for those under way. */
  stop(): Promise<void>;
}

/** @param onTaskRun called after each run of a task */
export function startPeriodicTasks(
  tasks: readonly PeriodicTask[],
  log: Logger,
  onTaskRun: (task: string, outcome: 'done' | 'failed') => void,
): PeriodicTasks {
  const running = new Set<Promise<void>>();
  let isStopped = false;

  async function runOnce(task: PeriodicTask): Promise<void> {
    try {
      await task.run();
      onTaskRun(task.name, 'done');
    } catch (error) {
      log.error({ err: error, clock: task.name }, 'a periodic task failed; its next run tries again');
      onTaskRun(task.name, 'failed');
    }
  }

  /** Runs the task once at a time. Times that pass during a run are made up for by one more run. */
  function runnerOf(task: PeriodicTask): () => void {
    let isDue = false;
    let isRunning = false;
    async function runWhileDue(): Promise<void> {
      isRunning = true;
      while (isDue && !isStopped) {
        isDue = false;
        await onBehalfOf(randomUUID(), () => runOnce(task));
      }
      isRunning = false;
    }
    return () => {
      isDue = true;
      if (isRunning) return;
      const done = runWhileDue().finally(() => running.delete(done));
      running.add(done);
    };
  }

  const scheduled = tasks.map((task) =>
    cron.schedule(task.cronExpression, runnerOf(task), { name: task.name, timezone: 'UTC', logger: cronLogger(log) }),
  );
  return {
    async stop() {
      isStopped = true;
      for (const task of scheduled) await task.destroy();
      await Promise.all(running);
    },
  };
}

/** Sends the library's own messages to our log, because it would write them to the console. */
function cronLogger(log: Logger) {
  const write = (level: 'debug' | 'warn' | 'error') => (message: string | Error) => {
    log[level]({ message: String(message) }, 'node-cron');
  };
  return { info: write('debug'), debug: write('debug'), warn: write('warn'), error: write('error') };
}
