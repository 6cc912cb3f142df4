import type { Knex } from 'knex';
import { z } from 'zod';
import { jobKey } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import type { RingSubscription } from '../ring/subscriptions.js';
import { NoLinkError } from '../tokens/errors.js';
import type { InventoryDependencies } from './inventory.js';
import { inLinkedAccount } from './linked-account.js';
import { FETCH_SUBSCRIPTIONS } from './refetch.js';

const Payload = z.object({ accountId: z.string(), attempt: z.number().int().min(1) });

/** Replaces what we know of an account's subscriptions by Ring's answer, which is the whole truth. */
export async function fetchSubscriptions(dependencies: InventoryDependencies, payload: unknown): Promise<void> {
  const job = Payload.parse(payload);
  const { accountId } = job;
  const { ring, tokens } = dependencies;
  const askedAt = dependencies.clock();
  try {
    const subscriptions = await tokens.forAccount(accountId, (accessToken) => ring.getSubscriptions(accessToken));
    await inLinkedAccount(dependencies.database, accountId, (trx) => replace(trx, accountId, subscriptions, askedAt));
  } catch (error) {
    if (error instanceof NoLinkError) return;
    await retryRingCall(dependencies, FETCH_SUBSCRIPTIONS, job, jobKey(FETCH_SUBSCRIPTIONS, accountId), error);
  }
}

async function replace(
  trx: Knex,
  accountId: string,
  subscriptions: readonly RingSubscription[],
  askedAt: Date,
): Promise<void> {
  await trx.raw('DELETE FROM subscriptions WHERE account_id = ?', [accountId]);
  for (const { id, subType, status, planId, expiresAt, createdAt, deviceIds } of subscriptions) {
    await trx.raw(
      `INSERT INTO subscriptions (account_id, id, sub_type, status, plan_id, expires_at, created_at, device_ids, fetched_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?::text[], ?)
       ON CONFLICT DO NOTHING`,
      [accountId, id, subType, status, planId, expiresAt, createdAt, deviceIds, askedAt],
    );
  }
}
