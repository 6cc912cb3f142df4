import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import { row } from '../database/database.js';
import { retryPauseMs } from '../jobs/enqueue.js';
import type { RingClient, TokenGrant } from '../ring/client.js';
import { RingError, type RingErrorKind } from '../ring/errors.js';
import { insist } from './insist.js';
import { ERASE, openRefreshToken, type SealedPair, sealPair } from './token-pairs.js';
import type { Vault } from './vault.js';

export interface RefreshDependencies {
  database: Knex;
  ring: RingClient;
  vault: Vault;
  clock: Clock;
  log: Logger;
  /** What follows when a link that seemed to need its user again is whole after all, in the transaction that heals it. */
  onHealed: (trx: Knex, accountId: string) => Promise<void>;
  /** Hears what came of each refresh that was Ring's to answer. */
  onRefresh?: (outcome: RefreshOutcome) => void;
}

/** `REFUSED`: the pair is dead; `LINK_ENDED`: nobody needed the new pair any more; `UNCERTAIN`, `FAILING`: see the row. */
export type RefreshOutcome = 'REFRESHED' | 'REFUSED' | 'LINK_ENDED' | 'UNCERTAIN' | 'FAILING';

/** There is no pair any more with which Ring could be called: the link has ended, or has to be made again. */
export class NoLinkError extends Error {
  override readonly name = 'NoLinkError';
}

/** A pair as somebody saw it: what is to be replaced is that one, and not one that came after it. */
export interface SeenPair {
  id: string;
  generation: number;
}

/** SQL: a new pair makes the link whole. One that was never completed lacks more than that. */
const CAN_HEAL = `(status = 'REAUTH_REQUIRED' AND completed_at IS NOT NULL)`;

/** Longer than a call to Ring and the first attempts to store its answer: whoever takes longer has died. */
export const ABANDONED_AFTER_SECONDS = 45;
/** How long one waits for another instance that is refreshing the same pair. */
const WAIT_FOR_OTHER_MS = 12_000;
const WAIT_STEP_MS = 100;
/** What is further off was set by a clock that went wrong, and does not count. */
const MAX_PAUSE_MS = 60 * 60_000;

/** What whoever refreshes a pair has to know of it. */
type TakenPair = Pick<SealedPair, 'key_id' | 'refresh_token_ciphertext'> & { refresh_failures: number };

export type RefreshState = 'FINE' | 'REFRESHING' | 'UNCERTAIN' | 'FAILING';

export type Refresh = (pair: SeenPair) => Promise<void>;

/**
 * Replaces token pairs, each by one call to Ring however many ask for it: within this process they share the call, and
 * across instances the row says who is at it.
 *
 * `refresh` resolves when the pair that was seen is replaced, and throws a {@link RingError} when it could not be and is to
 * be tried later, or a {@link NoLinkError} when Ring has said that it is dead. `settled` waits for those under way.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export function createRefresh(dependencies: RefreshDependencies): {
  refresh: Refresh;
  settled: () => Promise<void>;
} {
  const underWay = new Map<string, Promise<void>>();
  return {
    refresh(pair) {
      const key = `${pair.id}/${pair.generation}`;
      const already = underWay.get(key);
      if (already !== undefined) return already;
      const refreshing = replace(dependencies, pair).finally(() => underWay.delete(key));
      underWay.set(key, refreshing);
      return refreshing;
    },
    async settled() {
      await Promise.allSettled(underWay.values());
    },
  };
}

async function replace(dependencies: RefreshDependencies, pair: SeenPair): Promise<void> {
  const giveUpAt = performance.now() + WAIT_FOR_OTHER_MS;
  do {
    const taken = await begin(dependencies, pair);
    if (taken !== undefined) {
      await askRing(dependencies, pair, taken);
      return;
    }
    const present = await find(dependencies.database, pair.id);
    if (present?.status !== 'CLAIMED') throw new NoLinkError('the link has ended');
    if (present.generation !== pair.generation) return;
    const pauseMs = (present.refresh_after?.getTime() ?? 0) - dependencies.clock().getTime();
    if (pauseMs > 0 && pauseMs <= MAX_PAUSE_MS) throw notNow('unavailable', pauseMs);
    await delay(WAIT_STEP_MS);
  } while (performance.now() < giveUpAt);
  throw new RingError('no-answer', 'POST /oauth/token');
}

interface PresentPair {
  status: string;
  generation: number;
  refresh_after: Date | null;
}

function find(database: Knex, tokenId: string): Promise<PresentPair | undefined> {
  return row(database, 'SELECT status, generation, refresh_after FROM ring_tokens WHERE id = ?', [tokenId]);
}

/**
 * Takes the pair for this refresh. Committed before Ring is called: should we die before the answer is stored, the row
 * goes on to say that a refresh was under way.
 *
 * @returns undefined when somebody else is at it, the pause after a failure is not over, or the pair is not the one that
 *   was seen
 */
async function begin({ database, clock }: RefreshDependencies, pair: SeenPair): Promise<TakenPair | undefined> {
  const now = clock();
  return row<TakenPair>(
    database,
    `UPDATE ring_tokens SET refresh_state = 'REFRESHING', refresh_started_at = now()
      WHERE id = ? AND generation = ? AND status = 'CLAIMED'
        AND (refresh_state <> 'REFRESHING' OR refresh_started_at < now() - ? * interval '1 s')
        AND (refresh_after > ? AND refresh_after <= ?) IS NOT TRUE
     RETURNING key_id, refresh_token_ciphertext, refresh_failures`,
    [pair.id, pair.generation, ABANDONED_AFTER_SECONDS, now, new Date(now.getTime() + MAX_PAUSE_MS)],
  );
}

async function askRing(dependencies: RefreshDependencies, pair: SeenPair, taken: TakenPair): Promise<void> {
  const { ring, vault, log } = dependencies;
  let grant: TokenGrant;
  try {
    grant = await ring.refreshTokens(openRefreshToken(vault, pair.id, taken));
  } catch (error) {
    log.warn({ err: error, tokenId: pair.id }, 'a token pair is not refreshed');
    if (isDead(error)) {
      dependencies.onRefresh?.('REFUSED');
      await requireReauthorization(dependencies, pair, error.reason);
      throw new NoLinkError('Ring takes the refresh token no more', { cause: error });
    }
    dependencies.onRefresh?.(stateAfter(error));
    const pauseMs = await recordFailure(dependencies, pair, taken, error);
    throw error instanceof RingError ? notNow(error.kind, pauseMs, error) : error;
  }
  await storeInsistently(dependencies, pair, grant);
}

/** Ring's no to the refresh token itself. Whatever a 5xx quotes is not final. */
function isDead(error: unknown): error is RingError {
  if (!(error instanceof RingError) || error.code !== 'invalid_grant') return false;
  return error.kind === 'rejected' || error.kind === 'unauthorized';
}

/**
 * What a caller learns of a failed refresh: that Ring can't be called now. That Ring said no to the refresh, or does not
 * know such an address, must not be taken for its answer to what the caller wanted.
 */
function notNow(kind: RingErrorKind, pauseMs: number, cause?: RingError): RingError {
  const isNo = kind === 'rejected' || kind === 'unauthorized' || kind === 'malformed';
  return new RingError(isNo ? 'unavailable' : kind, 'POST /oauth/token', {
    retryAfterSeconds: Math.ceil(pauseMs / 1_000),
    cause,
  });
}

/**
 * From Ring's answer on the old refresh token is dead, and the new one exists in this process and nowhere else: nothing
 * comes before writing it down, and nothing short of the end of the process keeps us from trying.
 */
async function storeInsistently(dependencies: RefreshDependencies, pair: SeenPair, grant: TokenGrant): Promise<void> {
  const askedAt = dependencies.clock();
  await insist(
    () => store(dependencies, pair, grant, askedAt),
    (error) => {
      if (error instanceof NoLinkError) {
        dependencies.onRefresh?.('LINK_ENDED');
        throw error;
      }
      dependencies.log.error({ err: error, tokenId: pair.id }, 'a new token pair is not stored; trying again');
    },
  );
  dependencies.onRefresh?.('REFRESHED');
}

/**
 * Puts the new pair into the place of the old one. Should another instance have taken us for dead meanwhile, asked Ring
 * with the old token and been refused, the new pair makes the link whole again.
 *
 * @throws {NoLinkError} when the link has ended: then nobody needs the pair
 */
async function store(
  { database, vault, onHealed }: RefreshDependencies,
  { id, generation }: SeenPair,
  grant: TokenGrant,
  now: Date,
): Promise<void> {
  const sealed = sealPair(vault, id, grant);
  await database.transaction(async (trx) => {
    // The link first, as everyone who ends one does: a condition on it in the statement below would be judged by what was
    // committed when that began, and miss an end that it had to wait for.
    const link = await row(
      trx,
      `SELECT 1 FROM account_links
        WHERE token_id = ? AND (status IN ('CONFIRMING', 'COMPLETED') OR ${CAN_HEAL}) FOR UPDATE`,
      [id],
    );
    if (link === undefined) throw new NoLinkError('the link has ended');
    const replaced = await row(
      trx,
      `UPDATE ring_tokens
          SET status = 'CLAIMED', key_id = ?, access_token_ciphertext = ?, refresh_token_ciphertext = ?, scope = ?,
              access_token_expires_at = ?, generation = generation + 1, refreshed_at = ?, refresh_state = 'FINE',
              refresh_started_at = NULL, refresh_failures = 0, refresh_error = NULL, refresh_after = NULL
        WHERE id = ? AND generation = ? RETURNING 1`,
      [
        sealed.key_id,
        sealed.access_token_ciphertext,
        sealed.refresh_token_ciphertext,
        grant.scope,
        new Date(now.getTime() + grant.expiresIn * 1_000),
        now,
        id,
        generation,
      ],
    );
    // Otherwise an earlier attempt of ours got through, and only its answer was lost.
    if (replaced === undefined) return;
    const healed = await row<{ account_id: string }>(
      trx,
      `UPDATE account_links SET status = 'COMPLETED', last_error = NULL, updated_at = ?
        WHERE token_id = ? AND ${CAN_HEAL} RETURNING account_id`,
      [now, id],
    );
    if (healed !== undefined) await onHealed(trx, healed.account_id);
  });
}

/** Keeps the pair: Ring may be asked again with it, later. @returns how much later, in ms */
async function recordFailure(
  { database, clock }: RefreshDependencies,
  { id, generation }: SeenPair,
  { refresh_failures }: TakenPair,
  error: unknown,
): Promise<number> {
  const [reason, retryAfterSeconds] =
    error instanceof RingError ? [error.reason, error.retryAfterSeconds] : ['internal'];
  const failures = refresh_failures + 1;
  const pauseMs = retryPauseMs(failures, MAX_PAUSE_MS, retryAfterSeconds);
  await database.raw(
    `UPDATE ring_tokens SET refresh_state = ?, refresh_started_at = NULL, refresh_error = ?, refresh_failures = ?,
            refresh_after = ?
      WHERE id = ? AND generation = ? AND status = 'CLAIMED'`,
    [stateAfter(error), reason, failures, new Date(clock().getTime() + pauseMs), id, generation],
  );
  return pauseMs;
}

/** Without a clear answer, Ring may have replaced the token all the same. */
function stateAfter(error: unknown): 'UNCERTAIN' | 'FAILING' {
  return error instanceof RingError && error.mayHaveActed ? 'UNCERTAIN' : 'FAILING';
}

/** The pair is dead: erases it, and leaves the link to its user, who has to make it again. */
export async function requireReauthorization(
  { database, clock }: Pick<RefreshDependencies, 'database' | 'clock'>,
  { id, generation }: SeenPair,
  reason: string,
): Promise<void> {
  await database.transaction(async (trx) => {
    // The link first, as everyone who ends one does.
    const link = await row(
      trx,
      `SELECT 1 FROM account_links WHERE token_id = ? AND status IN ('CONFIRMING', 'COMPLETED') FOR UPDATE`,
      [id],
    );
    const erased = await row(
      trx,
      `UPDATE ring_tokens SET status = 'REVOKED', ${ERASE}, refresh_state = 'FINE', refresh_started_at = NULL,
              refresh_error = ?
        WHERE id = ? AND generation = ? AND status = 'CLAIMED' RETURNING 1`,
      [reason, id, generation],
    );
    if (link === undefined || erased === undefined) return;
    await trx.raw(
      `UPDATE account_links SET status = 'REAUTH_REQUIRED', last_error = ?, updated_at = ?, confirmation_step = NULL,
              request_key_id = NULL, request_ciphertext = NULL
        WHERE token_id = ? AND status IN ('CONFIRMING', 'COMPLETED')`,
      [reason, clock(), id],
    );
  });
}
