import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Clock } from '../clock.js';
import { row } from '../database/database.js';
import { enqueue, retryPauseMs } from '../jobs/enqueue.js';
import type { RingClient } from '../ring/client.js';
import { RingError } from '../ring/errors.js';
import { ERASE, openAccessToken } from '../tokens/token-pairs.js';
import type { Vault } from '../tokens/vault.js';
import { noncePlace } from './links.js';

/** The job that finishes a claimed link with Ring. */
export const CONFIRM_LINK = 'confirm_link';

export interface ConfirmDependencies {
  database: Knex;
  ring: RingClient;
  vault: Vault;
  clock: Clock;
  log: Logger;
}

/**
 * How far Ring was told, written before each call and after its answer, so that a crash at any point is seen for what it
 * is: `CLAIMED` nothing was sent; `POSTING` the POST may have reached Ring; `AWAITING` Ring has confirmed it; `PATCHING`
 * the PATCH may have reached Ring.
 */
type ConfirmationStep = 'CLAIMED' | 'POSTING' | 'AWAITING' | 'PATCHING';

interface ConfirmingLink {
  id: string;
  token_id: string;
  confirmation_step: ConfirmationStep;
  account_identifier: string;
  nonce_digest: Buffer;
  nonce_key_id: string;
  nonce_ciphertext: Buffer;
  key_id: string;
  access_token_ciphertext: Buffer;
}

/** The link ended or got a newer pair while this job was at work; whoever changed it has taken over. */
class LinkMovedOn extends Error {}

const Payload = z.object({ linkId: z.uuid(), tokenId: z.uuid(), attempt: z.number().int().min(1) });

const MAX_PAUSE_MS = 60_000;

/** What Ring says to a PATCH of an integration that is not `awaiting`. */
const INVALID_TRANSITION = 'Invalid Status Transition';

/**
 * Brings a claimed link from where it stands to `COMPLETED`, or to `REFUSED` when Ring says no for good. Safe to run
 * again after a crash at any point; when Ring can't be reached it is tried again, with growing pauses, until Ring answers.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export async function confirmLink(dependencies: ConfirmDependencies, payload: unknown): Promise<void> {
  const { linkId, tokenId, attempt } = Payload.parse(payload);
  const link = await findConfirming(dependencies.database, linkId, tokenId);
  if (link === undefined) return;
  try {
    await tellRing(dependencies, link);
    await complete(dependencies, link);
  } catch (error) {
    if (error instanceof LinkMovedOn) return;
    if (!(error instanceof RingError)) throw error;
    dependencies.log.warn({ err: error, linkId, attempt }, 'Ring did not confirm the link');
    if (isFinal(error)) await refuse(dependencies, link, error);
    else await tryLater(dependencies, link, attempt, error);
  }
}

function findConfirming(database: Knex, linkId: string, tokenId: string): Promise<ConfirmingLink | undefined> {
  return row<ConfirmingLink>(
    database,
    `SELECT link.id, link.token_id, link.confirmation_step, link.account_identifier,
            link.nonce_digest, link.nonce_key_id, link.nonce_ciphertext, token.key_id, token.access_token_ciphertext
       FROM account_links link JOIN ring_tokens token ON token.id = link.token_id
      WHERE link.id = ? AND link.token_id = ? AND link.status = 'CONFIRMING'`,
    [linkId, tokenId],
  );
}

async function tellRing(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  switch (link.confirmation_step) {
    case 'CLAIMED':
      await post(dependencies, link);
      await patch(dependencies, link);
      return;
    case 'POSTING':
      // A nonce may work only once, so a second POST could be refused because the first one got through. The PATCH can
      // tell: Ring accepts it from an awaiting integration, and from no other.
      if (await isCompletedByPatch(dependencies, link)) return;
      try {
        await post(dependencies, link);
      } catch (error) {
        // Refused because the first one arrived only just now: then there is something awaiting.
        const isRejected = error instanceof RingError && error.kind === 'rejected';
        if (isRejected && (await isCompletedByPatch(dependencies, link))) return;
        throw error;
      }
      await patch(dependencies, link);
      return;
    case 'AWAITING':
      await patch(dependencies, link);
      return;
    case 'PATCHING':
      await patchAgain(dependencies, link);
  }
}

async function post(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  const { ring, vault } = dependencies;
  const nonce = vault.open({ keyId: link.nonce_key_id, ciphertext: link.nonce_ciphertext }, noncePlace(link.id));
  const accessToken = openAccessToken(vault, link.token_id, link);
  await reach(dependencies, link, 'POSTING');
  await ring.announceLink(accessToken, { accountIdentifier: link.account_identifier, nonce });
  await reach(dependencies, link, 'AWAITING');
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
    if (!(error instanceof RingError && error.code === INVALID_TRANSITION)) throw error;
  }
}

/** False when Ring says that there is nothing awaiting yet: the POST has not arrived. */
async function isCompletedByPatch(dependencies: ConfirmDependencies, link: ConfirmingLink): Promise<boolean> {
  try {
    await sendPatch(dependencies, link);
    return true;
  } catch (error) {
    if (error instanceof RingError && error.kind === 'rejected') return false;
    throw error;
  }
}

function sendPatch({ ring, vault }: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  const accessToken = openAccessToken(vault, link.token_id, link);
  return ring.completeLink(accessToken, { accountIdentifier: link.account_identifier });
}

async function reach(
  { database, clock }: ConfirmDependencies,
  link: ConfirmingLink,
  step: ConfirmationStep,
): Promise<void> {
  const reached = await row(
    database,
    `UPDATE account_links SET confirmation_step = ?, updated_at = ?
      WHERE id = ? AND token_id = ? AND status = 'CONFIRMING' RETURNING 1`,
    [step, clock(), link.id, link.token_id],
  );
  if (reached === undefined) throw new LinkMovedOn();
}

async function complete({ database, clock }: ConfirmDependencies, link: ConfirmingLink): Promise<void> {
  await database.raw(
    `UPDATE account_links SET status = 'COMPLETED', last_error = NULL, ${CONFIRMED}, updated_at = ?
      WHERE id = ? AND token_id = ? AND status = 'CONFIRMING'`,
    [clock(), link.id, link.token_id],
  );
}

/**
 * Ends the link for good; its tokens are of no use without one. Not when the user came with a fresh nonce meanwhile: then
 * it was the former nonce that Ring refused, and the job that the fresh one brought is already waiting.
 */
async function refuse({ database, clock }: ConfirmDependencies, link: ConfirmingLink, error: RingError): Promise<void> {
  await database.transaction(async (trx) => {
    const refused = await row(
      trx,
      `UPDATE account_links SET status = 'REFUSED', last_error = ?, ${CONFIRMED}, updated_at = ?
        WHERE id = ? AND token_id = ? AND nonce_digest = ? AND status = 'CONFIRMING' RETURNING 1`,
      [describe(error), clock(), link.id, link.token_id, link.nonce_digest],
    );
    if (refused === undefined) return;
    await trx.raw(`UPDATE ring_tokens SET status = 'REVOKED', ${ERASE} WHERE id = ?`, [link.token_id]);
  });
}

async function tryLater(
  { database }: ConfirmDependencies,
  link: ConfirmingLink,
  attempt: number,
  error: RingError,
): Promise<void> {
  await database.transaction(async (trx) => {
    await trx.raw(`UPDATE account_links SET last_error = ? WHERE id = ? AND token_id = ? AND status = 'CONFIRMING'`, [
      describe(error),
      link.id,
      link.token_id,
    ]);
    await enqueue(
      trx,
      CONFIRM_LINK,
      { linkId: link.id, tokenId: link.token_id, attempt: attempt + 1 },
      {
        key: `${CONFIRM_LINK}:${link.id}`,
        delayMs: retryPauseMs(attempt, MAX_PAUSE_MS, error.retryAfterSeconds),
      },
    );
  });
}

/** The nonce has done its work, whatever came of it. */
const CONFIRMED = 'confirmation_step = NULL, nonce_key_id = NULL, nonce_ciphertext = NULL';

function isFinal(error: RingError): boolean {
  return error.kind === 'rejected' || error.kind === 'unauthorized';
}

function describe({ kind, status, code }: RingError): string {
  return [kind, status, code].filter((fact) => fact !== undefined).join(' ');
}
