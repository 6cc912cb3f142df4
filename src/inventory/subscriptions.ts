import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { jobKey } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import { isApplied } from '../ring-accounts/link-conditions.js';
import { inLinkedAccount } from '../ring-accounts/linked-account.js';
import { FETCH_SUBSCRIPTIONS } from '../ring-accounts/refetch.js';
import type { RingSubscription } from '../ring/subscriptions.js';
import { NoLinkError } from '../tokens/errors.js';

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

const Payload = z.object({ accountId: z.string(), attempt: z.number().int().min(1) });

/** Asks Ring what a Ring account has subscribed to. The answer is complete, and replaces the one before. */
export async function fetchSubscriptions(
  core: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log'>,
  payload: unknown,
): Promise<void> {
  const job = Payload.parse(payload);
  const { accountId } = job;
  const { db, ring, tokens, clock } = core;
  const askedAt = clock();
  try {
    const subscriptions = await tokens.forAccount(accountId, (accessToken) => ring.getSubscriptions(accessToken));
    await inLinkedAccount(db, accountId, (trx) => replace(trx, accountId, subscriptions, askedAt));
  } catch (error) {
    if (error instanceof NoLinkError) return;
    await retryRingCall(core, FETCH_SUBSCRIPTIONS, job, jobKey(FETCH_SUBSCRIPTIONS, accountId), error);
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
