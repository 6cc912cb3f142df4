import type { Knex } from 'knex';
import type { Logger } from 'pino';
import type { Coverage } from './ring-accounts/coverage.js';
import type { RingClient } from './ring/client.js';
import type { Clock } from './time/clock.js';
import type { AccessTokens } from './tokens/access-tokens.js';
import type { Vault } from './tokens/vault.js';

/**
 * The objects and settings that nearly every feature needs, made once when the service starts. A function takes the part
 * that it needs: `Pick<Core, 'db' | 'clock'>`.
 */
export interface Core {
  /** Runs our own SQL. */
  db: Knex;
  ring: RingClient;
  vault: Vault;
  tokens: AccessTokens;
  coverage: Coverage;
  clock: Clock;
  log: Logger;
  /** How long a token pair may wait for its user, in seconds. */
  unclaimedTtlSeconds: number;
  /** How far Ring's clock and ours may be apart, in seconds. */
  linkClockSkewSeconds: number;
}
