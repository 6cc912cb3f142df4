import { parentPort } from 'node:worker_threads';
import { hashSync, verifySync } from '@node-rs/argon2';
import type { HashAnswer, HashTask } from './hash-threads.js';

/** The thread that hashes passwords, one at a time; see `hash-threads.ts`. */
parentPort?.on('message', (task: HashTask) => {
  parentPort?.postMessage(answerTo(task));
});

function answerTo(task: HashTask): HashAnswer {
  try {
    switch (task.kind) {
      case 'hash':
        return { result: hashSync(task.password, task.cost) };
      case 'verify':
        return { result: verifySync(task.passwordHash, task.password) };
    }
  } catch (error) {
    // Only the message: it names what is wrong with a hash, and neither the hash nor the password.
    return { problem: error instanceof Error ? error.message : 'not an Error was thrown' };
  }
}
