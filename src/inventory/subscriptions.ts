import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { MAY_HAVE_VIDEO } from '../devices/device-kind.js';
import { jobKey } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import { isApplied, isUsable } from '../ring-accounts/link-conditions.js';
import { noteSubscriptionsAnswer } from '../ring-accounts/link-rows.js';
import { inLinkedAccount } from '../ring-accounts/linked-account.js';
import { FETCH_SUBSCRIPTIONS } from '../ring-accounts/refetch.js';
import { RingError } from '../ring/errors.js';
import type { RingSubscription } from '../ring/subscriptions.js';
import { NoLinkError } from '../tokens/errors.js';
import { applyCoverage } from './coverage-changes.js';

/** A subscription as its user may see it. */
export interface UserSubscription {
  linkId: Tables['account_links']['id'];
  subType: RingSubscription['subType'];
  status: RingSubscription['status'];
  expiresAt: Tables['subscriptions']['expires_at'];
  /** The names of its devices that are shared with us. */
  deviceNames: Tables['devices']['name'][];
}

/** The subscriptions of all standing links of a user: active ones first, and among them the one that runs longest. */
export function subscriptionsOfUser(db: Knex, userId: string): Promise<UserSubscription[]> {
  return rows<UserSubscription>(
    db,
    sql`SELECT link.id AS "linkId", sub.sub_type AS "subType", sub.status, sub.expires_at AS "expiresAt",
               ARRAY(SELECT device.name FROM devices device
                      WHERE device.account_id = sub.account_id AND device.id = ANY (sub.device_ids)
                        AND device.removed_at IS NULL
                      ORDER BY device.name) AS "deviceNames"
          FROM account_links link JOIN subscriptions sub ON sub.account_id = link.account_id
         WHERE link.user_id = ${userId} AND ${isApplied('link')}
         ORDER BY sub.status, sub.expires_at DESC NULLS FIRST, sub.id LIMIT 100`,
  );
}

/** The cameras of a user that may not be used for want of a subscription, by name. None where none is required. */
export async function uncoveredDevicesOfUser(
  { db, clock, coverage }: Pick<Core, 'db' | 'clock' | 'coverage'>,
  userId: string,
): Promise<{ linkId: Tables['account_links']['id']; name: Tables['devices']['name'] }[]> {
  if (!coverage.isRequired) return [];
  const covered = coverage.covers({ accountId: sql`device.account_id`, deviceId: sql`device.id` }, clock());
  return rows(
    db,
    sql`SELECT link.id AS "linkId", device.name
          FROM account_links AS link JOIN devices AS device ON device.account_id = link.account_id
         WHERE link.user_id = ${userId} AND ${isUsable('link')} AND device.removed_at IS NULL AND NOT ${covered}
           AND ${MAY_HAVE_VIDEO}
         ORDER BY device.name, device.id LIMIT 500`,
  );
}

const Payload = z.object({ accountId: z.string(), attempt: z.number().int().min(1) });

/** @returns one key for each Ring account */
export const subscriptionsKeyOf = (payload: unknown): string =>
  jobKey(FETCH_SUBSCRIPTIONS, Payload.parse(payload).accountId);

/**
 * Asks Ring what a Ring account has subscribed to. The answer is complete, and replaces the one before; what it gives or
 * takes from the account's devices follows in the same transaction.
 */
export async function fetchSubscriptions(
  core: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'coverage'>,
  payload: unknown,
): Promise<void> {
  const job = Payload.parse(payload);
  const { accountId } = job;
  const { db, clock } = core;
  const askedAt = clock();
  try {
    const subscriptions = await ask(core, accountId);
    await inLinkedAccount(db, accountId, async (trx) => {
      await replace(trx, accountId, subscriptions, askedAt);
      await noteSubscriptionsAnswer(trx, accountId, askedAt);
      await applyCoverage(trx, core, accountId, clock());
    });
  } catch (error) {
    if (error instanceof NoLinkError) return;
    await retryRingCall(core, FETCH_SUBSCRIPTIONS, job, jobKey(FETCH_SUBSCRIPTIONS, accountId), error);
  }
}

/** Ring's refusals that mean: this app or this user has no subscriptions. */
const NONE: ReadonlySet<number | undefined> = new Set([403, 404, 422]);

/**
 * Where a subscription is required, a final refusal is an answer: there is none. Where none is, it is a failed call, and
 * what was known before stays.
 */
async function ask(
  { ring, tokens, log, coverage }: Pick<Core, 'ring' | 'tokens' | 'log' | 'coverage'>,
  accountId: string,
): Promise<RingSubscription[]> {
  try {
    return await tokens.forAccount(accountId, (accessToken) => ring.getSubscriptions(accessToken));
  } catch (error) {
    const isFinal = error instanceof RingError && (error.kind === 'rejected' || error.kind === 'unauthorized');
    if (!coverage.isRequired || !isFinal || !NONE.has(error.status)) throw error;
    log.info({ err: error }, 'Ring has no subscriptions for an account');
    return [];
  }
}

async function replace(
  trx: Knex.Transaction,
  accountId: string,
  subscriptions: readonly RingSubscription[],
  askedAt: Date,
): Promise<void> {
  await eraseSubscriptions(trx, accountId);
  for (const { id, subType, status, planId, expiresAt, createdAt, deviceIds } of subscriptions) {
    await trx('subscriptions')
      .insert({
        account_id: accountId,
        id,
        sub_type: subType,
        status,
        plan_id: planId,
        expires_at: expiresAt,
        created_at: createdAt,
        device_ids: deviceIds,
        fetched_at: askedAt,
      })
      .onConflict()
      .ignore();
  }
}

export async function eraseSubscriptions(trx: Knex.Transaction, accountId: string): Promise<void> {
  await run(trx, sql`DELETE FROM subscriptions WHERE account_id = ${accountId}`);
}
