import { hash, verify } from '@node-rs/argon2';

/** How much work it is to hash a password once, and so to try one: memory in KiB, passes over it, lanes. */
export interface HashCost {
  memoryCost: number;
  timeCost: number;
  parallelism: number;
}

/** OWASP's first choice for argon2id, which is the library's default variant: 19 MiB, 2 passes, 1 lane. */
const DEFAULT_COST: HashCost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

export interface Passwords {
  hash(password: string): Promise<string>;
  /** False for a user that is not there, after one verification all the same: the time taken tells nothing. */
  verify(hashOfUser: string | undefined, password: string): Promise<boolean>;
}

/** @param cost of the hashes that are made; one that was made at another cost is verified at that one */
export function createPasswords(cost = DEFAULT_COST): Passwords {
  /** A hash like any user's, of a password that nobody can send: it is longer than the form's limit. */
  const hashOfNobody = hash('x'.repeat(1_000), cost);
  return {
    hash: (password) => hash(password, cost),
    async verify(hashOfUser, password) {
      const isCorrect = await verify(hashOfUser ?? (await hashOfNobody), password);
      return isCorrect && hashOfUser !== undefined;
    },
  };
}
