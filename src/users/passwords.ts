import { hash, verify } from '@node-rs/argon2';

/** The work that hashing a password takes, and so each guess: memory in KiB, passes over it, lanes. */
export interface HashCost {
  memoryCost: number;
  timeCost: number;
  parallelism: number;
}

/** OWASP's first choice for argon2id, which is the library's default variant: 19 MiB, 2 passes, 1 lane. */
const DEFAULT_COST: HashCost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

export interface Passwords {
  hash(password: string): Promise<string>;
  /** Without a hash, for a user who does not exist, it verifies all the same and is false, so that the time tells nothing. */
  verify(passwordHash: string | undefined, password: string): Promise<boolean>;
}

/** @param cost the cost of new hashes. An older hash is verified at the cost at which it was made */
export function createPasswords(cost = DEFAULT_COST): Passwords {
  /** A hash like any user's, of a password that no form can send: it is longer than the limit. */
  const unusedHash = hash('x'.repeat(1_000), cost);
  return {
    hash: (password) => hash(password, cost),
    async verify(passwordHash, password) {
      const isCorrect = await verify(passwordHash ?? (await unusedHash), password);
      return isCorrect && passwordHash !== undefined;
    },
  };
}
