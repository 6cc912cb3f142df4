import { hashSync } from '@node-rs/argon2';
import {
  createHashThreads,
  type HashCost,
  type HashTask,
  type HashThreads,
  type HashThreadsOptions,
} from './hash-threads.js';
import { PasswordsBusy } from './passwords-busy.js';

/** OWASP's first choice for argon2id, which is the library's default variant: 19 MiB, 2 passes, 1 lane. */
const DEFAULT_COST: HashCost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

export interface Passwords {
  /** @throws {PasswordsBusy} */
  hash(password: string): Promise<string>;
  /**
   * Without a hash, for a user who does not exist, it verifies all the same and is false, so that the time tells nothing.
   *
   * @throws {PasswordsBusy}
   */
  verify(passwordHash: string | undefined, password: string): Promise<boolean>;
  /** How many passwords are being hashed, and how many wait for it. */
  usage(): ReturnType<HashThreads['usage']>;
  /** Ends the threads. */
  close(): Promise<void>;
}

export interface PasswordOptions extends HashThreadsOptions {
  /** The cost of new hashes. An older hash is verified at the cost at which it was made. */
  cost?: HashCost;
}

/** Passwords are hashed in threads of their own, and only so many wait: a crowd must not keep Ring waiting. */
export function createPasswords({ cost = DEFAULT_COST, ...options }: PasswordOptions = {}): Passwords {
  const threads = createHashThreads(options);
  /** A hash like any user's, of a password that no form can send: it is longer than the limit. */
  const unusedHash = hashSync('x'.repeat(1_000), cost);

  const run = async (task: HashTask) => {
    const result = threads.run(task);
    if (result === undefined) throw new PasswordsBusy();
    return result;
  };
  return {
    hash: async (password) => String(await run({ kind: 'hash', password, cost })),
    async verify(passwordHash, password) {
      const isCorrect = await run({ kind: 'verify', passwordHash: passwordHash ?? unusedHash, password });
      return isCorrect === true && passwordHash !== undefined;
    },
    usage: () => threads.usage(),
    close: () => threads.close(),
  };
}
