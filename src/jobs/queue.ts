import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Logger as WorkerLogger, type Runner, run, type Task, type TaskList, type WorkerEvents } from 'graphile-worker';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Database } from '../database/database.js';
import { sql } from '../database/sql.js';
import { onBehalfOf } from '../request-id.js';

export interface JobQueue {
  /** Whether workers run and could tell the database so within the last few seconds. */
  isAlive(): boolean;
  /** Takes no more jobs and waits for the running ones. */
  stop(): Promise<void>;
}

/** Tasks that share some workers, so that their jobs wait for each other and for no other lane's. */
export interface Lane {
  tasks: TaskList;
  /** How many of its jobs run at once in this process. */
  concurrency: number;
}

const POLL_MS = 1_000;
const HEARTBEAT_MS = 2_000;
const DEAD_AFTER_MS = 10_000;
const RESTART_PAUSE_MS = 1_000;
/** How long the jobs of a runner that gives up may take to end, in ms, before another one is started. */
const LAST_JOBS_MS = 10_000;

/**
 * Runs the durable jobs of this process, and takes over the jobs of processes that died: the engine itself would leave a
 * killed worker's jobs locked for four hours.
 */
export function startQueue(database: Database, lanes: readonly Lane[], log: Logger): JobQueue {
  const stopping = new AbortController();
  const hasStopped = new AbortController();
  const running = lanes.map((lane) => runLane(database, lane, log, stopping.signal));
  let lastHeartbeat = 0;

  async function keepHeartbeat(): Promise<void> {
    while (!hasStopped.signal.aborted) {
      try {
        await beat(
          database,
          running.flatMap((lane) => lane.poolIds()),
        );
        lastHeartbeat = performance.now();
        const orphans = await releaseOrphanedJobs(database);
        if (orphans > 0) log.warn({ processes: orphans }, 'took over the jobs of processes that died');
      } catch (error) {
        log.warn({ err: error }, 'the job queue could not write its heartbeat');
      }
      await delay(HEARTBEAT_MS, undefined, { signal: hasStopped.signal }).catch(() => undefined);
    }
  }

  const beating = keepHeartbeat();
  return {
    isAlive: () => running.every((lane) => lane.isRunning()) && performance.now() - lastHeartbeat < DEAD_AFTER_MS,
    async stop() {
      stopping.abort();
      await Promise.all(running.map((lane) => lane.stop()));
      // The heartbeat goes on until here: otherwise another instance would take over jobs that are still being finished.
      hasStopped.abort();
      await beating;
    },
  };
}

interface RunningLane {
  /** The IDs of its pools of workers. A job is locked by the pool that took it. */
  poolIds(): string[];
  /** Whether it takes jobs. */
  isRunning(): boolean;
  /** Waits for the running jobs. */
  stop(): Promise<void>;
}

function runLane(database: Database, { tasks, concurrency }: Lane, log: Logger, stopping: AbortSignal): RunningLane {
  const poolIds = new Set<string>();
  const events: WorkerEvents = new EventEmitter();
  events.on('pool:create', ({ workerPool }) => poolIds.add(workerPool.id));
  let runner: Runner | undefined;
  let isTakingJobs = false;

  // The engine's runner gives up after some errors in a row (Postgres away for a while), so it is started again.
  async function keepRunning(): Promise<void> {
    while (!stopping.aborted) {
      try {
        runner = await run({
          pgPool: database.patientPool,
          taskList: Object.fromEntries(Object.entries(tasks).map(([name, task]) => [name, task && attributed(task)])),
          concurrency,
          pollInterval: POLL_MS,
          noHandleSignals: true,
          // Given, because otherwise a file named `crontab` in the working directory would be read.
          parsedCronItems: [],
          // Given, so that marking a job as done or failed is retried, reported, and waited for at a stop. Otherwise a
          // connection that is lost at that moment is an unhandled rejection, which ends the process.
          preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
          events,
          logger: workerLogger(log),
        });
        isTakingJobs = true;
        const abandoned = givesUp();
        // Told to stop while it was starting.
        if (isAborted(stopping)) await runner.stop();
        await Promise.race([runner.promise, abandoned]);
      } catch (error) {
        if (!isAborted(stopping)) log.error({ err: error }, 'the job queue stopped; starting it again');
        // One that has not ended would keep its timers.
        await stopRunner();
      }
      isTakingJobs = false;
      runner = undefined;
      // From now on its jobs are those of a dead process, and another runner takes them over.
      poolIds.clear();
      await delay(RESTART_PAUSE_MS, undefined, { signal: stopping }).catch(() => undefined);
    }
  }

  /**
   * Rejects when the runner has given up by itself and has had time to end. It may never end: graphile-worker 0.17 counts
   * wrongly what is still to be written down once two jobs could not be marked as done, and waits for it for ever.
   */
  function givesUp(): Promise<never> {
    return new Promise((_resolve, reject) => {
      events.once('pool:gracefulShutdown', () => {
        isTakingJobs = false;
        if (isAborted(stopping)) return;
        setTimeout(() => {
          reject(new Error(`gave up, and did not end within ${LAST_JOBS_MS} ms`));
        }, LAST_JOBS_MS).unref();
      });
    });
  }

  async function stopRunner(): Promise<void> {
    await runner?.stop().catch((error: unknown) => {
      // The runner was stopping by itself. Its jobs are handed back all the same.
      log.debug({ err: error }, 'the job queue was stopping already');
    });
  }

  const running = keepRunning();
  return {
    poolIds: () => [...poolIds],
    isRunning: () => isTakingJobs,
    async stop() {
      await stopRunner();
      await running;
    },
  };
}

const Attributed = z.object({ requestId: z.string() });

/** The task on behalf of the request that added its job, or of a new id, so that its log lines can be found together. */
function attributed(task: Task): Task {
  return (payload, helpers) => {
    const { data } = Attributed.safeParse(payload);
    return onBehalfOf(data?.requestId ?? randomUUID(), () => task(payload, helpers));
  };
}

/** Hides the read from the compiler, which would take the signal for unchanged after an `await`. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;

async function beat(database: Database, poolIds: string[]): Promise<void> {
  await database.pool.query(
    sql`INSERT INTO job_runners (pool_id, seen_at) SELECT unnest(${poolIds}::text[]), now()
        ON CONFLICT (pool_id) DO UPDATE SET seen_at = excluded.seen_at`.numbered,
  );
}

/**
 * Unlocks the jobs of pools that have not been seen for {@link DEAD_AFTER_MS}. A job of a pool that was merely slow may then
 * run a second time: every job is idempotent, because a queue can only promise "at least once".
 *
 * @returns the number of dead pools
 */
async function releaseOrphanedJobs(database: Database): Promise<number> {
  const silence = `${DEAD_AFTER_MS} ms`;
  const { rows } = await database.pool.query<{ pools: string[] | null }>(
    sql`SELECT array_agg(DISTINCT locked_by) AS pools
          FROM graphile_worker.jobs
         WHERE locked_at < now() - ${silence}::interval
           AND NOT EXISTS (SELECT 1 FROM job_runners
                            WHERE pool_id = locked_by AND seen_at > now() - ${silence}::interval)`.numbered,
  );
  const pools = rows[0]?.pools ?? [];
  if (pools.length > 0) {
    await database.pool.query(sql`SELECT graphile_worker.force_unlock_workers(${pools})`.numbered);
  }
  await database.pool.query(sql`DELETE FROM job_runners WHERE seen_at < now() - 10 * ${silence}::interval`.numbered);
  return pools.length;
}

/** Sends the engine's own messages to our log. Its info is our debug. */
function workerLogger(log: Logger): WorkerLogger {
  const levels = { error: 'error', warning: 'warn', info: 'debug', debug: 'trace' } as const;
  return new WorkerLogger((scope) => (level, message) => {
    log[levels[level]]({ ...(scope.taskIdentifier && { task: scope.taskIdentifier }) }, message);
  });
}
