import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { isApplied } from '../ring-accounts/link-conditions.js';
import { takeSubscriptionQuestions } from '../ring-accounts/link-rows.js';
import { refetchSubscriptions } from '../ring-accounts/refetch.js';
import { noteExemptUsers } from '../users/users.js';
import { applyCoverage } from './coverage-changes.js';
import { accountsOutOfStep } from './device-rows.js';

/** Accounts that one run takes. Ring allows 100 calls a second to all instances together. */
const BATCH = 200;

export interface SubscriptionCheck extends Pick<Core, 'db' | 'clock' | 'log' | 'coverage'> {
  /** The e-mail addresses of users who need no subscription. */
  exempt: readonly string[];
}

/**
 * The part of coverage that no webhook tells: asks Ring once a day and when a subscription comes to its date, and applies
 * what has changed without an answer. That is a date that has passed while Ring is away, and a change of the settings. Where
 * no subscription is required it only lets go on what an earlier setting had stopped.
 */
export async function checkSubscriptions(core: SubscriptionCheck): Promise<void> {
  const { db, clock, coverage, exempt } = core;
  const now = clock();
  await noteExemptUsers(db, exempt, now);
  if (coverage.isRequired) {
    await db.transaction(async (trx) => {
      const due = await takeSubscriptionQuestions(trx, now, BATCH);
      for (const { account_id: accountId } of due) await refetchSubscriptions(trx, accountId);
    });
  }
  for (const accountId of await accountsOutOfStep(db, coverage, now, BATCH)) await bringIntoStep(core, accountId);
}

/** Also for a link that has to be made again: what was granted with a subscription ends with it. */
async function bringIntoStep(core: SubscriptionCheck, accountId: string): Promise<void> {
  await core.db.transaction(async (trx) => {
    await lockAccount(trx, accountId);
    const link = await row(
      trx,
      sql`SELECT 1 FROM account_links WHERE account_id = ${accountId} AND ${isApplied()} FOR UPDATE`,
    );
    if (link !== undefined) await applyCoverage(trx, core, accountId, core.clock());
  });
}
