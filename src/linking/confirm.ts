import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { enqueue } from '../jobs/enqueue.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import {
  completeLink,
  isConfirming,
  noteFailure,
  noteNonceTooOld,
  reachStep,
  refuseLink,
} from '../ring-accounts/link-rows.js';
import { reasonOf, RingError } from '../ring/errors.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { NoLinkError } from '../tokens/errors.js';
import { requireReauthorization } from '../tokens/pair-and-link.js';
import { revokePair } from '../tokens/pair-rows.js';
import { redirectPlace } from '../tokens/places.js';
import type { Vault } from '../tokens/vault.js';
import { catchUp } from './catch-up.js';
import { eraseAccountData } from './end-link.js';
import { isExpired, type Redirect } from './redirect.js';
import { openRedirect } from './sealed-redirect.js';

/** The job that finishes a claimed link with Ring. */
export const CONFIRM_LINK = 'confirm_link';

type ConfirmCore = Pick<Core, 'db' | 'ring' | 'vault' | 'tokens' | 'clock' | 'log'>;

type LinkRow = Tables['account_links'];

/**
 * How far Ring was told. The step is written before each call and after its answer, so that it tells after a crash what Ring
 * may have heard:
 * - `CLAIMED`: nothing was sent.
 * - `POSTING`: the POST may have reached Ring.
 * - `PROBING`: so may a PATCH that was sent to find out whether the POST had.
 * - `AWAITING`: Ring has confirmed the POST.
 * - `PATCHING`: the PATCH may have reached Ring.
 */
type ConfirmationStep = NonNullable<LinkRow['confirmation_step']>;

type ConfirmingLink = Pick<LinkRow, 'id' | 'account_id' | 'token_id' | 'account_identifier' | 'nonce_digest'> & {
  [Column in 'confirmation_step' | 'request_key_id' | 'request_ciphertext']: NonNullable<LinkRow[Column]>;
};

/** The link ended or got a newer pair while this job was at work. The transaction that changed it has taken over. */
class LinkMovedOn extends Error {}

const Payload = z.object({ linkId: z.uuid(), tokenId: z.uuid(), attempt: z.number().int().min(1) });

const MAX_PAUSE_MS = 60_000;

const keyOf = (linkId: string): string => `${CONFIRM_LINK}:${linkId}`;

/** One job at a time for each link: two would tell Ring contradictory things. */
export const confirmationKeyOf = (payload: unknown): string => keyOf(Payload.parse(payload).linkId);

/** Adds the job that confirms a link with its present pair. It replaces one that still waits. */
export function enqueueConfirmation(
  trx: Knex.Transaction,
  { id, token_id }: Pick<LinkRow, 'id' | 'token_id'>,
  attempt = 1,
  delayMs = 0,
): Promise<void> {
  return enqueue(trx, CONFIRM_LINK, { linkId: id, tokenId: token_id, attempt }, { key: keyOf(id), delayMs });
}

/** Ring's answer to a PATCH of an integration that is not `awaiting`. */
const INVALID_TRANSITION = 'Invalid Status Transition';
/** Ring's answer to a nonce that is forged, too old or used. */
const INVALID_NONCE = 'Invalid Nonce';

/**
 * Brings a claimed link from where it stands to `COMPLETED`, or to `REFUSED` when Ring's refusal is final. Safe to run again
 * after a crash at any point. When Ring can't be reached it is tried again, with growing pauses, until Ring answers.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export async function confirmLink(core: ConfirmCore, payload: unknown): Promise<void> {
  const { linkId, tokenId, attempt } = Payload.parse(payload);
  const link = await findConfirming(core.db, linkId, tokenId);
  if (link === undefined) return;
  try {
    await tellRing(core, link);
    await complete(core, link);
  } catch (error) {
    // The link has ended meanwhile: its user has removed the app, or Ring no longer accepts its tokens.
    if (error instanceof LinkMovedOn || error instanceof NoLinkError) return;
    core.log.warn({ err: error, linkId, attempt }, 'the link is not confirmed');
    await copeWith(core, link, attempt, error);
  }
}

/** Decides what a failure means for the link. One that is our own (a missing key, a bug) can be put right: try later. */
async function copeWith(core: ConfirmCore, link: ConfirmingLink, attempt: number, error: unknown): Promise<void> {
  if (!(error instanceof RingError)) await tryLater(core, link, attempt, error);
  else if (error.isRefusal(INVALID_NONCE) && isNonceExpired(core, link)) {
    // Ring was away for longer than a nonce lives. The integration is still pending there, so the link goes on as soon as the
    // user taps Sign In again and brings a fresh nonce.
    await noteNonceTooOld(core.db, link);
  } else if (error.isRefusal()) await refuse(core, link, error);
  else if (error.kind === 'unauthorized') {
    // Ring refuses the access token although it was refreshed.
    await requireReauthorization(core, { id: link.token_id }, error.reason);
  } else await tryLater(core, link, attempt, error);
}

function findConfirming(db: Knex, linkId: string, tokenId: string): Promise<ConfirmingLink | undefined> {
  return row<ConfirmingLink>(
    db,
    sql`SELECT id, account_id, token_id, confirmation_step, account_identifier, nonce_digest, request_key_id,
               request_ciphertext
          FROM account_links WHERE ${isConfirming({ id: linkId, token_id: tokenId })}`,
  );
}

async function tellRing(core: ConfirmCore, link: ConfirmingLink): Promise<void> {
  switch (link.confirmation_step) {
    case 'CLAIMED':
      await reach(core, link, 'POSTING');
      await sendPost(core, link);
      await reach(core, link, 'AWAITING');
      await patch(core, link);
      return;
    case 'POSTING':
    case 'PROBING':
      if ((await probe(core, link)) === 'completed') return;
      await reach(core, link, 'AWAITING');
      await patch(core, link);
      return;
    case 'AWAITING':
      await patch(core, link);
      return;
    case 'PATCHING':
      await patchAgain(core, link);
  }
}

async function patch(core: ConfirmCore, link: ConfirmingLink): Promise<void> {
  await reach(core, link, 'PATCHING');
  await sendPatch(core, link);
}

/** Sends the PATCH again after one whose answer never came. "Not awaiting any more" means that the first got through. */
async function patchAgain(core: ConfirmCore, link: ConfirmingLink): Promise<void> {
  try {
    await sendPatch(core, link);
  } catch (error) {
    if (!(error instanceof RingError && error.isRefusal(INVALID_TRANSITION))) throw error;
  }
}

/**
 * Finds out whether a POST got through whose answer never came. A nonce may work only once, so a second POST could be refused
 * because the first got through. A PATCH can tell, because Ring accepts it only for an awaiting integration.
 */
async function probe(core: ConfirmCore, link: ConfirmingLink): Promise<'completed' | 'awaiting'> {
  const hasProbed = link.confirmation_step === 'PROBING';
  await reach(core, link, 'PROBING');
  if (await isCompletedByPatch(core, link)) return 'completed';
  try {
    await sendPost(core, link);
    return 'awaiting';
  } catch (error) {
    if (!(error instanceof RingError && error.isRefusal())) throw error;
    // The first POST may have arrived only just now.
    if (await isCompletedByPatch(core, link)) return 'completed';
    // Our own nonce, not yet too old, can be refused for one reason only: it was used. So the POST got through, and since
    // nothing is awaiting any more, an earlier probe did too.
    if (hasProbed && error.isRefusal(INVALID_NONCE) && !isNonceExpired(core, link)) return 'completed';
    throw error;
  }
}

/** Sends a PATCH. @returns false when Ring answers that the integration is not awaiting */
async function isCompletedByPatch(core: ConfirmCore, link: ConfirmingLink): Promise<boolean> {
  try {
    await sendPatch(core, link);
    return true;
  } catch (error) {
    if (error instanceof RingError && error.isRefusal()) return false;
    throw error;
  }
}

function sendPost({ ring, tokens, vault }: ConfirmCore, link: ConfirmingLink): Promise<void> {
  const { nonce } = redirectOf(vault, link);
  return tokens.forPair(link.token_id, (accessToken) =>
    ring.announceLink(accessToken, { accountIdentifier: link.account_identifier, nonce }),
  );
}

function sendPatch({ ring, tokens }: ConfirmCore, link: ConfirmingLink): Promise<void> {
  return tokens.forPair(link.token_id, (accessToken) =>
    ring.completeLink(accessToken, { accountIdentifier: link.account_identifier }),
  );
}

function redirectOf(vault: Vault, link: ConfirmingLink): Redirect {
  return openRedirect(
    vault,
    { keyId: link.request_key_id, ciphertext: link.request_ciphertext },
    redirectPlace(link.id),
  );
}

function isNonceExpired({ vault, clock }: ConfirmCore, link: ConfirmingLink): boolean {
  return isExpired(redirectOf(vault, link), clock());
}

async function reach({ db, clock }: ConfirmCore, link: ConfirmingLink, step: ConfirmationStep): Promise<void> {
  if (!(await reachStep(db, link, step, clock()))) throw new LinkMovedOn();
}

async function complete({ db, clock }: ConfirmCore, link: ConfirmingLink): Promise<void> {
  const now = clock();
  await db.transaction(async (trx) => {
    if (await completeLink(trx, link, now)) await catchUp(trx, link.account_id, null);
  });
}

/**
 * Ends the link for good, and its pair with it. Not when the user came with a fresh nonce meanwhile: then Ring has refused
 * the former nonce, and the job for the fresh one is already waiting.
 *
 * A link that was only being renewed takes everything with it that had come through it, which is archived. A new link has
 * brought nothing: no event and no answer of Ring's is applied before Ring has confirmed it. It leaves no row in the archive.
 */
async function refuse({ db, clock }: ConfirmCore, link: ConfirmingLink, error: RingError): Promise<void> {
  const now = clock();
  await db.transaction(async (trx) => {
    await lockAccount(trx, link.account_id);
    const ending = await row<{ has_brought: boolean }>(
      trx,
      sql`SELECT EXISTS (SELECT 1 FROM devices WHERE account_id = link.account_id)
                 OR EXISTS (SELECT 1 FROM device_events WHERE account_id = link.account_id)
                 OR EXISTS (SELECT 1 FROM subscriptions WHERE account_id = link.account_id) AS has_brought
            FROM account_links AS link
           WHERE ${isConfirming(link)} AND nonce_digest = ${link.nonce_digest} FOR UPDATE`,
    );
    if (ending === undefined) return;
    if (ending.has_brought) {
      await eraseAccountData(trx, { accountId: link.account_id, reason: 'refused by Ring', occurredAt: now, now });
    }
    await refuseLink(trx, link.id, reasonOf(error), now);
    await revokePair(trx, link.token_id);
  });
}

async function tryLater({ db }: ConfirmCore, link: ConfirmingLink, attempt: number, error: unknown): Promise<void> {
  const retryAfterSeconds = error instanceof RingError ? error.retryAfterSeconds : undefined;
  await db.transaction(async (trx) => {
    const isCurrent = await noteFailure(trx, link, reasonOf(error));
    // The transaction that changed the link has added a job under the same key, which this one would replace.
    if (!isCurrent) return;
    await enqueueConfirmation(trx, link, attempt + 1, retryPauseMs(attempt, MAX_PAUSE_MS, retryAfterSeconds));
  });
}
