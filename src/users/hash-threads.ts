import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

/** The work that hashing a password takes, and so each guess: memory in KiB, passes over it, lanes. */
export interface HashCost {
  memoryCost: number;
  timeCost: number;
  parallelism: number;
}

export type HashTask =
  | { kind: 'hash'; password: string; cost: HashCost }
  /** At the cost at which the hash was made. */
  | { kind: 'verify'; passwordHash: string; password: string };

/** The result of a task: the hash, or whether the password is the one that was hashed. */
export type HashAnswer = { result: string | boolean } | { problem: string };

export interface HashThreadsOptions {
  /** How many passwords are hashed at the same time. All cores but one, unless given: the others serve everything else. */
  threads?: number;
  /** The most tasks that wait for a thread. A hundred for each thread, unless given: the last one waits some seconds. */
  mostWaiting?: number;
}

/**
 * Threads for hashing passwords alone. In libuv's pool, which does the work of files, DNS and crypto for the whole process,
 * a crowd that signs in would keep everything else waiting.
 */
export interface HashThreads {
  /** @returns undefined at once when too many tasks wait */
  run(task: HashTask): Promise<string | boolean> | undefined;
  /** How many tasks run and wait now. */
  usage(): { running: number; waiting: number };
  /** Ends the threads. What they have not done fails. */
  close(): Promise<void>;
}

interface Waiting {
  task: HashTask;
  resolve: (result: string | boolean) => void;
  reject: (error: Error) => void;
}

export const WAITING_FOR_EACH = 100;
const WORKER = fileURLToPath(new URL('hash-worker.js', import.meta.url));

export function createHashThreads({
  threads = Math.max(1, availableParallelism() - 1),
  mostWaiting = WAITING_FOR_EACH * threads,
}: HashThreadsOptions = {}): HashThreads {
  const idle: Worker[] = [];
  /** Every thread, with the task that it works on. */
  const workers = new Map<Worker, Waiting | undefined>();
  const queue: Waiting[] = [];
  let isClosed = false;

  const free = (): number => idle.length + threads - workers.size;

  /** Gives waiting tasks to the threads that are free. A thread is started when it is first needed. */
  function proceed(): void {
    for (const next of queue.splice(0, free())) {
      const worker = idle.pop() ?? start();
      workers.set(worker, next);
      // A thread that has nothing to do does not keep the process alive.
      worker.ref();
      worker.postMessage(next.task);
    }
  }

  function start(): Worker {
    const worker = new Worker(WORKER);
    workers.set(worker, undefined);
    worker.on('message', (answer: HashAnswer) => {
      const done = workers.get(worker);
      workers.set(worker, undefined);
      worker.unref();
      idle.push(worker);
      if ('result' in answer) done?.resolve(answer.result);
      else done?.reject(new Error(answer.problem));
      proceed();
    });
    const end = (error: Error) => {
      const lost = workers.get(worker);
      if (!workers.delete(worker)) return;
      if (idle.includes(worker)) idle.splice(idle.indexOf(worker), 1);
      lost?.reject(error);
      proceed();
    };
    worker.on('error', (error) => {
      end(new Error('the thread that hashes passwords has failed', { cause: error }));
    });
    worker.on('exit', () => {
      end(new Error('the thread that hashes passwords has ended'));
    });
    return worker;
  }

  return {
    run(task) {
      if (isClosed) return Promise.reject(new Error('the threads that hash passwords are closed'));
      if (free() === 0 && queue.length >= mostWaiting) return undefined;
      return new Promise((resolve, reject) => {
        queue.push({ task, resolve, reject });
        proceed();
      });
    },
    usage: () => ({ running: workers.size - idle.length, waiting: queue.length }),
    async close() {
      isClosed = true;
      for (const { reject } of queue.splice(0)) reject(new Error('the threads that hash passwords are closed'));
      await Promise.all([...workers.keys()].map((worker) => worker.terminate()));
    },
  };
}
