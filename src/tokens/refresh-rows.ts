import type { Knex } from 'knex';
import type { Clock } from '../time/clock.js';
import { row } from '../database/database.js';
import { IS_CALLABLE } from '../ring-accounts/link-conditions.js';
import { retryPauseMs } from '../time/retry-pause.js';
import type { TokenGrant } from '../ring/client.js';
import { NoLinkError } from './errors.js';
import { ERASE, type SealedPair, sealPair } from './token-pairs.js';
import type { Vault } from './vault.js';

export interface PairDependencies {
  db: Knex;
  vault: Vault;
  clock: Clock;
  /** What follows when a link that seemed to need its user again is whole after all, in the transaction that heals it. */
  onHealed: (trx: Knex, accountId: string) => Promise<void>;
}

/** A pair as somebody saw it: what is to be replaced is that one, and not one that came after it. */
export interface SeenPair {
  id: string;
  generation: number;
}

/** What whoever refreshes a pair has to know of it. */
export type TakenPair = Pick<SealedPair, 'key_id' | 'refresh_token_ciphertext'> & { refresh_failures: number };

export const REFRESH_STATES = ['FINE', 'REFRESHING', 'UNCERTAIN', 'FAILING'] as const;

/** Longer than a call to Ring and the first attempts to store its answer: whoever takes longer has died. */
export const ABANDONED_AFTER_SECONDS = 45;
/** What is further off was set by a clock that went wrong, and does not count. */
export const MAX_PAUSE_MS = 60 * 60_000;

/** SQL: a new pair makes the link whole. One that was never completed lacks more than that. */
const CAN_HEAL = `(status = 'REAUTH_REQUIRED' AND completed_at IS NOT NULL)`;

/**
 * Takes the pair for a refresh. Committed before Ring is called: should we die before the answer is stored, the row goes on
 * to say that a refresh was under way.
 *
 * @returns undefined when somebody else is at it, the pause after a failure is not over, or the pair is not the one that
 *   was seen
 */
export async function takePair(
  { db, clock }: PairDependencies,
  { id, generation }: SeenPair,
): Promise<TakenPair | undefined> {
  const now = clock();
  return row<TakenPair>(
    db,
    `UPDATE ring_tokens SET refresh_state = 'REFRESHING', refresh_started_at = now()
      WHERE id = ? AND generation = ? AND status = 'CLAIMED'
        AND (refresh_state <> 'REFRESHING' OR refresh_started_at < now() - ? * interval '1 s')
        AND (refresh_after > ? AND refresh_after <= ?) IS NOT TRUE
     RETURNING key_id, refresh_token_ciphertext, refresh_failures`,
    [id, generation, ABANDONED_AFTER_SECONDS, now, new Date(now.getTime() + MAX_PAUSE_MS)],
  );
}

export interface PresentPair {
  status: string;
  generation: number;
  /** What is left of the pause after a failure, 0 when none is. */
  pauseMs: number;
}

export async function findPair({ db, clock }: PairDependencies, id: string): Promise<PresentPair | undefined> {
  const pair = await row<{ status: string; generation: number; refresh_after: Date | null }>(
    db,
    'SELECT status, generation, refresh_after FROM ring_tokens WHERE id = ?',
    [id],
  );
  if (pair === undefined) return undefined;
  const pauseMs = (pair.refresh_after?.getTime() ?? 0) - clock().getTime();
  return { ...pair, pauseMs: pauseMs > 0 && pauseMs <= MAX_PAUSE_MS ? pauseMs : 0 };
}

/**
 * Puts the new pair into the place of the old one. Should another instance have taken us for dead meanwhile, asked Ring
 * with the old token and been refused, the new pair makes the link whole again.
 *
 * @throws {NoLinkError} when the link has ended: then nobody needs the pair
 */
export async function replacePair(
  { db, vault, onHealed }: PairDependencies,
  { id, generation }: SeenPair,
  grant: TokenGrant,
  answeredAt: Date,
): Promise<void> {
  const sealed = sealPair(vault, id, grant);
  await db.transaction(async (trx) => {
    // The link first, as everyone who ends one does: a condition on it in the statement below would be judged by what was
    // committed when that began, and miss an end that it had to wait for.
    const link = await row(
      trx,
      `SELECT 1 FROM account_links WHERE token_id = ? AND (${IS_CALLABLE} OR ${CAN_HEAL}) FOR UPDATE`,
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
        new Date(answeredAt.getTime() + grant.expiresIn * 1_000),
        answeredAt,
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
      [answeredAt, id],
    );
    if (healed !== undefined) await onHealed(trx, healed.account_id);
  });
}

export interface Failure {
  state: 'UNCERTAIN' | 'FAILING';
  /** Never free text. */
  reason: string;
  retryAfterSeconds?: number | undefined;
}

/** Keeps the pair: Ring may be asked again with it, later. @returns how much later, in ms */
export async function recordFailure(
  { db, clock }: PairDependencies,
  { id, generation }: SeenPair,
  { refresh_failures }: TakenPair,
  { state, reason, retryAfterSeconds }: Failure,
): Promise<number> {
  const failures = refresh_failures + 1;
  const pauseMs = retryPauseMs(failures, MAX_PAUSE_MS, retryAfterSeconds);
  await db.raw(
    `UPDATE ring_tokens SET refresh_state = ?, refresh_started_at = NULL, refresh_error = ?, refresh_failures = ?,
            refresh_after = ?
      WHERE id = ? AND generation = ? AND status = 'CLAIMED'`,
    [state, reason, failures, new Date(clock().getTime() + pauseMs), id, generation],
  );
  return pauseMs;
}

/**
 * The pair is dead: erases it, and leaves the link to its user, who has to make it again.
 *
 * @param pair without a generation: whichever is there
 */
export async function requireReauthorization(
  { db, clock }: Pick<PairDependencies, 'db' | 'clock'>,
  { id, generation }: Pick<SeenPair, 'id'> & Partial<SeenPair>,
  reason: string,
): Promise<void> {
  await db.transaction(async (trx) => {
    // The link first, as everyone who ends one does.
    const link = await row(trx, `SELECT 1 FROM account_links WHERE token_id = ? AND ${IS_CALLABLE} FOR UPDATE`, [id]);
    const erased = await row(
      trx,
      `UPDATE ring_tokens SET status = 'REVOKED', ${ERASE}, refresh_state = 'FINE', refresh_started_at = NULL,
              refresh_error = ?
        WHERE id = ? AND (generation = ?) IS NOT FALSE AND status = 'CLAIMED' RETURNING 1`,
      [reason, id, generation ?? null],
    );
    if (link === undefined || erased === undefined) return;
    await trx.raw(
      `UPDATE account_links SET status = 'REAUTH_REQUIRED', last_error = ?, updated_at = ?, confirmation_step = NULL,
              request_key_id = NULL, request_ciphertext = NULL
        WHERE token_id = ? AND ${IS_CALLABLE}`,
      [reason, clock(), id],
    );
  });
}
