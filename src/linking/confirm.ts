import type { Knex } from 'knex';
import { z } from 'zod';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { row } from '../database/database.js';
import { enqueue } from '../jobs/enqueue.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { RingError } from '../ring/errors.js';
import { ERASE } from '../tokens/token-pairs.js';
import { linkRequestPlace } from '../tokens/places.js';
import { NoLinkError } from '../tokens/errors.js';
import { requireReauthorization } from '../tokens/refresh-rows.js';
import type { Vault } from '../tokens/vault.js';
import { isExpired, type LinkRequest } from './redirect.js';
import { NONCE_TOO_OLD } from '../ring-accounts/links.js';
import { openRequest } from './sealed-redirect.js';
import { eraseAccountData } from './unlink.js';
import type { Core } from '../core.js';

/** The job that finishes a claimed link with Ring. */
export const CONFIRM_LINK = 'confirm_link';

export interface ConfirmDependencies extends Pick<Core, 'db' | 'ring' | 'vault' | 'tokens' | 'clock' | 'log'> {
  /** What follows from a completed link, in the transaction that completes it. */
  onCompleted: (trx: Knex, accountId: string) => Promise<void>;
}

/**
 * How far Ring was told, written before each call and after its answer, so that a crash at any point is seen for what it
 * is: `CLAIMED` nothing was sent; `POSTING` the POST may have reached Ring; `PROBING` so may a PATCH that was sent to find
 * that out; `AWAITING` Ring has confirmed the POST; `PATCHING` the PATCH may have reached Ring.
 */
type ConfirmationStep = 'CLAIMED' | 'POSTING' | 'PROBING' | 'AWAITING' | 'PATCHING';

interface ConfirmingLink {
  id: string;
  account_id: string;
  token_id: string;
  confirmation_step: ConfirmationStep;
  account_identifier: string;
  nonce_digest: Buffer;
  request_key_id: string;
  request_ciphertext: Buffer;
}

/** The link ended or got a newer pair while this job was at work; whoever changed it has taken over. */
class LinkMovedOn extends Error {}

const Payload = z.object({ linkId: z.uuid(), tokenId: z.uuid(), attempt: z.number().int().min(1) });

const MAX_PAUSE_MS = 60_000;

export const confirmationKey = (linkId: string): string => `${CONFIRM_LINK}:${linkId}`;

/** Two jobs of one link would talk to Ring at cross purposes. */
export const confirmationKeyOf = (payload: unknown): string => confirmationKey(Payload.parse(payload).linkId);

/** SQL: the link is still the one that this job loaded, on its way with the same token pair. */
const IS_AS_LOADED = `id = ? AND token_id = ? AND status = 'CONFIRMING'`;

/** SQL: Ring's redirect has done its work, whatever came of it. */
const FORGET_REQUEST = 'confirmation_step = NULL, request_key_id = NULL, request_ciphertext = NULL';

/** What Ring says to a PATCH of an integration that is not `awaiting`. */
const INVALID_TRANSITION = 'Invalid Status Transition';
/** What Ring says to a nonce that is forged, too old or used. */
const INVALID_NONCE = 'Invalid Nonce';

/**
 * Brings a claimed link from where it stands to `COMPLETED`, or to `REFUSED` when Ring says no for good. Safe to run
 * again after a crash at any point; when Ring can't be reached it is tried again, with growing pauses, until Ring answers.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export async function confirmLink(dependencies: ConfirmDependencies, payload: unknown): Promise<void> {
  const { linkId, tokenId, attempt } = Payload.parse(payload);
  const link = await findConfirming(dependencies.db, linkId, tokenId);
  if (link === undefined) return;
  try {
    await tellRing(dependencies, link);
    await complete(dependencies, link);
  } catch (error) {
    // Ended meanwhile, by its user at Ring or because Ring takes its tokens no more.
    if (error instanceof LinkMovedOn || error instanceof NoLinkError) return;
    dependencies.log.warn({ err: error, linkId, attempt }, 'the link is not confirmed');
    await copeWith(dependencies, link, attempt, error);
  }
}

/** What follows from a failure. What is not Ring's doing (a missing key, a mistake of ours) can be put right: try later. */
async function copeWith(
  dependencies: ConfirmDependencies,
  link: ConfirmingLink,
  attempt: number,
  error: unknown,
): Promise<void> {
  if (isRefusal(error, INVALID_NONCE) && isNonceExpired(dependencies, link)) await waitForUser(dependencies, link);
  else if (isRefusal(error)) await refuse(dependencies, link, error);
  else if (error instanceof RingError && error.kind === 'unauthorized') {
    // Although the pair was refreshed.
    await requireReauthorization(dependencies, { id: link.token_id }, error.reason);
  } else await tryLater(dependencies, link, attempt, error);
}

function findConfirming(db: Knex, linkId: string, tokenId: string): Promise<ConfirmingLink | undefined> {
  return row<ConfirmingLink>(
    db,
    `SELECT link.id, link.account_id, link.token_id, link.confirmation_step, link.account_identifier,
            link.nonce_digest, link.request_key_id, link.request_ciphertext
       FROM account_links link
      WHERE link.id = ? AND link.token_id = ? AND link.status = 'CONFIRMING'`,
    [linkId, tokenId],
  );
}

async function tellRing(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  switch (link.confirmation_step) {
    case 'CLAIMED':
      await reach(dependencies, link, 'POSTING');
      await sendPost(dependencies, link);
      await reach(dependencies, link, 'AWAITING');
      await patch(dependencies, link);
      return;
    case 'POSTING':
    case 'PROBING':
      if ((await probe(dependencies, link)) === 'completed') return;
      await reach(dependencies, link, 'AWAITING');
      await patch(dependencies, link);
      return;
    case 'AWAITING':
      await patch(dependencies, link);
      return;
    case 'PATCHING':
      await patchAgain(dependencies, link);
  }
}

async function patch(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  await reach(dependencies, link, 'PATCHING');
  await sendPatch(dependencies, link);
}

/** After a PATCH whose answer never came, "not awaiting any more" means that it got through. */
async function patchAgain(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  try {
    await sendPatch(dependencies, link);
  } catch (error) {
    if (!isRefusal(error, INVALID_TRANSITION)) throw error;
  }
}

/**
 * After a POST whose answer never came. A nonce may work only once, so sending it again could be refused because it got
 * through; a PATCH can tell, for Ring accepts it from an awaiting integration and from no other.
 */
async function probe(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<'completed' | 'awaiting'> {
  const hasProbed = link.confirmation_step === 'PROBING';
  await reach(dependencies, link, 'PROBING');
  if (await isCompletedByPatch(dependencies, link)) return 'completed';
  try {
    await sendPost(dependencies, link);
    return 'awaiting';
  } catch (error) {
    if (!(error instanceof RingError && error.kind === 'rejected')) throw error;
    // The first POST may have arrived only just now.
    if (await isCompletedByPatch(dependencies, link)) return 'completed';
    // Our own nonce, not yet too old, can be refused for one reason only: it was used. So the POST got through, and since
    // nothing is awaiting any more, an earlier probe did too.
    if (hasProbed && isRefusal(error, INVALID_NONCE) && !isNonceExpired(dependencies, link)) return 'completed';
    throw error;
  }
}

/** False when Ring says that there is nothing awaiting. */
async function isCompletedByPatch(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<boolean> {
  try {
    await sendPatch(dependencies, link);
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

function sendPost({ ring, tokens, vault }: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  const { nonce } = requestOf(vault, link);
  return tokens.forPair(link.token_id, (accessToken) =>
    ring.announceLink(accessToken, { accountIdentifier: link.account_identifier, nonce }),
  );
}

function sendPatch({ ring, tokens }: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  return tokens.forPair(link.token_id, (accessToken) =>
    ring.completeLink(accessToken, { accountIdentifier: link.account_identifier }),
  );
}

function requestOf(vault: Vault, link: ConfirmingLink): LinkRequest {
  return openRequest(
    vault,
    { keyId: link.request_key_id, ciphertext: link.request_ciphertext },
    linkRequestPlace(link.id),
  );
}

function isNonceExpired({ vault, clock }: ConfirmDependencies, link: ConfirmingLink): boolean {
  return isExpired(requestOf(vault, link), clock);
}

async function reach({ db, clock }: ConfirmDependencies, link: ConfirmingLink, step: ConfirmationStep): Promise<void> {
  const reached = await row(
    db,
    `UPDATE account_links SET confirmation_step = ?, updated_at = ?
      WHERE ${IS_AS_LOADED} RETURNING 1`,
    [step, clock(), link.id, link.token_id],
  );
  if (reached === undefined) throw new LinkMovedOn();
}

async function complete({ db, clock, onCompleted }: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  const now = clock();
  await db.transaction(async (trx) => {
    const completed = await row<{ account_id: string }>(
      trx,
      `UPDATE account_links SET status = 'COMPLETED', completed_at = ?, last_error = NULL, ${FORGET_REQUEST}, updated_at = ?
        WHERE ${IS_AS_LOADED} RETURNING account_id`,
      [now, now, link.id, link.token_id],
    );
    if (completed !== undefined) await onCompleted(trx, completed.account_id);
  });
}

/**
 * Ends the link for good; its tokens are of no use without one. Not when the user came with a fresh nonce meanwhile: then
 * it was the former nonce that Ring refused, and the job that the fresh one brought is already waiting.
 *
 * A link that was only being renewed takes with it what it had brought before.
 */
async function refuse({ db, clock }: ConfirmDependencies, link: ConfirmingLink, error: RingError): Promise<void> {
  const now = clock();
  await db.transaction(async (trx) => {
    await lockAccount(trx, link.account_id);
    const ending = await row<{ has_devices: boolean }>(
      trx,
      `SELECT EXISTS (SELECT 1 FROM devices WHERE account_id = link.account_id) AS has_devices
         FROM account_links AS link WHERE ${IS_AS_LOADED} AND nonce_digest = ? FOR UPDATE`,
      [link.id, link.token_id, link.nonce_digest],
    );
    if (ending === undefined) return;
    if (ending.has_devices) {
      await eraseAccountData(trx, { accountId: link.account_id, reason: 'refused by Ring', occurredAt: now, now });
    }
    await trx.raw(
      `UPDATE account_links SET status = 'REFUSED', last_error = ?, ${FORGET_REQUEST}, updated_at = ?
        WHERE id = ?`,
      [describe(error), now, link.id],
    );
    await trx.raw(`UPDATE ring_tokens SET status = 'REVOKED', ${ERASE} WHERE id = ?`, [link.token_id]);
  });
}

/**
 * Ring was away for longer than a nonce lives. The integration is still pending there, so the link goes on as soon as the
 * user taps Sign In again and brings a fresh one.
 */
async function waitForUser({ db }: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  await db.raw(`UPDATE account_links SET last_error = ? WHERE ${IS_AS_LOADED} AND nonce_digest = ?`, [
    NONCE_TOO_OLD,
    link.id,
    link.token_id,
    link.nonce_digest,
  ]);
}

async function tryLater(
  { db }: ConfirmDependencies,
  link: ConfirmingLink,
  attempt: number,
  error: unknown,
): Promise<void> {
  const retryAfterSeconds = error instanceof RingError ? error.retryAfterSeconds : undefined;
  await db.transaction(async (trx) => {
    const current = await row(trx, `UPDATE account_links SET last_error = ? WHERE ${IS_AS_LOADED} RETURNING 1`, [
      describe(error),
      link.id,
      link.token_id,
    ]);
    // The job of whoever changed it waits under the same key, and would be replaced.
    if (current === undefined) return;
    await enqueue(
      trx,
      CONFIRM_LINK,
      { linkId: link.id, tokenId: link.token_id, attempt: attempt + 1 },
      { key: confirmationKey(link.id), delayMs: retryPauseMs(attempt, MAX_PAUSE_MS, retryAfterSeconds) },
    );
  });
}

function isRefusal(error: unknown, code?: string): error is RingError {
  return error instanceof RingError && error.kind === 'rejected' && (code === undefined || error.code === code);
}

function describe(error: unknown): string {
  return error instanceof RingError ? error.reason : 'internal';
}
