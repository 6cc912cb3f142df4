import type { Knex } from 'knex';
import { z } from 'zod';
import { tryLockAccount } from '../ring-accounts/account-lock.js';
import { row, rows } from '../database/database.js';
import { IS_APPLIED, IS_LIVE } from '../ring-accounts/link-conditions.js';
import { isDatabaseUnavailable } from '../database/unavailable.js';
import { enqueue, jobKey } from '../jobs/enqueue.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { type EventType, isKnown, parseEvent, type RingEvent } from '../ring/events.js';
import { onBehalfOf } from '../request-id.js';
import { handle } from './handlers.js';
import { PROCESS_INBOX } from './inbox.js';
import type { Core } from '../core.js';

export interface ProcessDependencies extends Pick<Core, 'db' | 'clock' | 'log'> {
  /** Hears of each event that was applied, once that is committed. */
  onApplied: (event: Pick<RingEvent, 'type' | 'sentAt'>) => void;
  /** Hears of each attempt that counts as a failed one. */
  onFailed: (type: EventType | 'unknown') => void;
}

/** Postgres' code for a statement that took longer than it may. */
const QUERY_CANCELED = '57014';

const Payload = z.object({ accountIds: z.array(z.string()) });

/** Events in one transaction. */
const BATCH = 50;
/** Then it is other accounts' turn. */
const BATCHES_PER_JOB = 20;
/** For an account that something else is just working on. */
const BUSY_PAUSE_MS = 100;
/** Within some twenty minutes, with pauses of 1 s, 2 s, 4 s … 5 min. */
const MAX_ATTEMPTS = 12;
const MAX_PAUSE_MS = 5 * 60_000;

interface InboxRow {
  id: string;
  type: string;
  /** Ring's timestamp, if it is not in the future. */
  occurred_at: Date;
  request_id: string;
  body: string;
  attempts: number;
  /** How long it has to be left alone, in ms. */
  pause_ms: number;
}

/** One event of a batch could not be applied; the others are not to blame. */
class HandlerError extends Error {
  constructor(
    readonly failed: InboxRow,
    /** How many events of the batch came before it. */
    readonly index: number,
    override readonly cause: unknown,
  ) {
    super('an event could not be applied');
  }
}

/** Applies what waits in the inbox of each account; what goes wrong with one of them stops no other. */
export async function processInbox(dependencies: ProcessDependencies, payload: unknown): Promise<void> {
  const { accountIds } = Payload.parse(payload);
  const errors: unknown[] = [];
  for (const accountId of await withWork(dependencies.db, accountIds)) {
    await processAccount(dependencies, accountId).catch((error: unknown) => errors.push(error));
  }
  // The queue shows it, and runs the job again.
  if (errors.length > 0) throw errors[0];
}

/**
 * Applies what waits for one account, in the order of arrival. An event and the mark that it was applied are one
 * transaction: it takes effect once, however often it is delivered and wherever the process dies.
 *
 * Before the account is linked only the removal of the integration is applied; the others wait for the link.
 */
async function processAccount(dependencies: ProcessDependencies, accountId: string): Promise<void> {
  for (let batch = 0; batch < BATCHES_PER_JOB; batch++) {
    if (await processSome(dependencies, accountId)) return;
  }
  await enqueueInbox(dependencies.db, accountId);
}

/** @returns whether there is nothing more to do now */
async function processSome(dependencies: ProcessDependencies, accountId: string): Promise<boolean> {
  try {
    return await processBatch(dependencies, accountId, BATCH);
  } catch (error) {
    if (!(error instanceof HandlerError) || isPassing(error.cause)) throw error;
    // Those before it were rolled back with it. Then it is the first, and only it is to be postponed.
    if (error.index > 0) await processBatch(dependencies, accountId, error.index);
    else await recordFailure(dependencies, accountId, error);
    return false;
  }
}

/** Has the inbox of an account looked at; part of the transaction that gives it reason to. */
export function enqueueInbox(on: Knex, accountId: string, delayMs = 0): Promise<void> {
  return enqueue(on, PROCESS_INBOX, { accountIds: [accountId] }, { key: jobKey(PROCESS_INBOX, accountId), delayMs });
}

/** Those of the accounts for which there is something to apply. Under load most have been seen to by another job. */
async function withWork(db: Knex, accountIds: string[]): Promise<string[]> {
  const found = await rows<{ account_id: string }>(
    db,
    `SELECT account_id FROM unnest(?::text[]) AS given (account_id)
      WHERE EXISTS (SELECT 1 FROM webhook_events AS event
                     WHERE event.account_id = given.account_id AND status = 'PENDING'
                       AND type = 'app_integration_removed')
         OR EXISTS (SELECT 1 FROM account_links AS link JOIN webhook_events AS event USING (account_id)
                     WHERE link.account_id = given.account_id AND link.removed_at > event.occurred_at
                       AND event.status = 'PENDING')
         OR (EXISTS (SELECT 1 FROM account_links AS link
                      WHERE link.account_id = given.account_id AND ${IS_APPLIED})
             AND EXISTS (SELECT 1 FROM webhook_events AS event
                          WHERE event.account_id = given.account_id AND status = 'PENDING'))`,
    [accountIds],
  );
  return found.map(({ account_id }) => account_id);
}

/** @returns whether there is nothing more to do now. @throws {HandlerError} */
async function processBatch(dependencies: ProcessDependencies, accountId: string, size: number): Promise<boolean> {
  const { db, clock } = dependencies;
  const applied: { id: string; event: RingEvent }[] = [];
  const isFinished = await db.transaction(async (trx) => {
    if (!(await tryLockAccount(trx, accountId))) {
      // Whoever has it may not see what came last; and to wait for it would keep a worker from other accounts.
      await enqueueInbox(trx, accountId, BUSY_PAUSE_MS);
      return true;
    }
    const { isLinked, voidBefore } = await standing(trx, accountId);
    const waiting = await nextEvents(trx, accountId, { isLinked, voidBefore }, size);
    const [head] = waiting;
    if (head === undefined) return true;
    if (head.pause_ms > 0) {
      await enqueueInbox(trx, accountId, head.pause_ms);
      return true;
    }

    const context = { trx, now: clock() };
    const isVoid = ({ type, occurredAt }: RingEvent) =>
      type !== 'app_integration_removed' && voidBefore !== null && occurredAt < voidBefore;
    let hasIntegrationEnded = false;
    for (const [index, one] of waiting.entries()) {
      // What follows a removal may be for the next link, or for none; what follows a paused event waits with it.
      if (hasIntegrationEnded || one.pause_ms > 0) break;
      try {
        const event = readEvent(one);
        if (!isVoid(event)) await onBehalfOf(one.request_id, () => handle(context, event));
        hasIntegrationEnded = event.type === 'app_integration_removed';
        applied.push({ id: one.id, event });
      } catch (cause) {
        throw new HandlerError(one, index, cause);
      }
    }
    const ids = applied.map(({ id }) => id);
    await markProcessed(trx, ids, { now: context.now, voidBefore, hasIntegrationEnded });
    return applied.length === waiting.length && waiting.length < size && !hasIntegrationEnded;
  });
  for (const { event } of applied) dependencies.onApplied(event);
  return isFinished;
}

/** Of what tells of a link or a device that has gone, only the row stays: it knows the event again. */
async function markProcessed(
  trx: Knex,
  ids: readonly string[],
  { now, voidBefore, hasIntegrationEnded }: { now: Date; voidBefore: Date | null; hasIntegrationEnded: boolean },
): Promise<void> {
  await trx.raw(
    `UPDATE webhook_events AS event
        SET status = 'PROCESSED', processed_at = ?, last_error = NULL, retry_at = NULL,
            body = CASE WHEN ? OR event.occurred_at < ? OR EXISTS (
                          SELECT 1 FROM devices
                           WHERE account_id = event.account_id AND id = event.device_id AND removed_at >= event.occurred_at)
                        THEN NULL ELSE body END
      WHERE id = ANY (?::bigint[])`,
    [now, hasIntegrationEnded, voidBefore, [...ids]],
  );
}

interface Standing {
  isLinked: boolean;
  voidBefore: Date | null;
}

/**
 * Whether there is a link to apply events to, and until when the account's former link lasted: what happened before
 * that and arrives late is of no concern to the present one.
 */
async function standing(trx: Knex, accountId: string): Promise<Standing> {
  // The link before its devices, as everyone locks them.
  await trx.raw(`SELECT 1 FROM account_links WHERE account_id = ? AND ${IS_LIVE} FOR UPDATE`, [accountId]);
  const found = await row<{ is_linked: boolean; void_before: Date | null }>(
    trx,
    `SELECT coalesce(bool_or(${IS_APPLIED}), false) AS is_linked, greatest(max(removed_at), max(void_before)) AS void_before
       FROM account_links WHERE account_id = ?`,
    [accountId],
  );
  return { isLinked: found?.is_linked ?? false, voidBefore: found?.void_before ?? null };
}

/**
 * In the order of arrival; only the end of the integration comes before everything that is going to be void with it. Of an
 * account that is not linked, that, and what is void already.
 */
async function nextEvents(
  trx: Knex,
  accountId: string,
  { isLinked, voidBefore }: Standing,
  size: number,
): Promise<InboxRow[]> {
  const select = `
    SELECT id, request_id, type, body, occurred_at, attempts,
           coalesce(extract(epoch FROM retry_at - now()) * 1000, 0)::float AS pause_ms
      FROM webhook_events WHERE account_id = ? AND status = 'PENDING'`;
  // By itself, so that both have an index in their order: an account may have any number of events waiting.
  const removal = await rows<InboxRow>(trx, `${select} AND type = 'app_integration_removed' ORDER BY id LIMIT 1`, [
    accountId,
  ]);
  if (removal.length > 0) return removal;
  if (isLinked) return rows<InboxRow>(trx, `${select} ORDER BY id LIMIT ?`, [accountId, size]);
  if (voidBefore === null) return [];
  return rows<InboxRow>(trx, `${select} AND occurred_at < ? ORDER BY id LIMIT ?`, [accountId, voidBefore, size]);
}

function readEvent({ body, occurred_at }: InboxRow): RingEvent {
  const parsed = parseEvent(Buffer.from(body));
  if (parsed.kind !== 'event') throw new Error('this version can not read the event');
  return { ...parsed.event, occurredAt: occurred_at };
}

/** Whether it says nothing about the event. A time limit does: an event that always takes too long must not go on for ever. */
function isPassing(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code !== QUERY_CANCELED && isDatabaseUnavailable(error);
}

/** Postpones the event, and with it those behind it; or gives it up, so that those behind it go on. */
async function recordFailure(
  { db, log, onFailed }: ProcessDependencies,
  accountId: string,
  { failed, cause }: HandlerError,
): Promise<void> {
  const attempts = failed.attempts + 1;
  const isFinal = attempts >= MAX_ATTEMPTS;
  log[isFinal ? 'error' : 'warn'](
    { request: failed.request_id, account: accountId, type: failed.type, err: cause, attempts },
    isFinal ? 'a webhook event has failed for good' : 'a webhook event could not be applied; trying again',
  );
  const pauseMs = isFinal ? null : retryPauseMs(attempts, MAX_PAUSE_MS);
  // The next batch finds it paused and comes back in time, or finds those behind it.
  await db.raw(
    `UPDATE webhook_events SET status = ?, attempts = ?, last_error = ?, retry_at = now() + ? * interval '1 ms'
      WHERE id = ? AND status = 'PENDING'`,
    [isFinal ? 'FAILED' : 'PENDING', attempts, describe(cause), pauseMs, failed.id],
  );
  onFailed(isKnown(failed.type) ? failed.type : 'unknown');
}

/** What an operator reads: Knex puts the whole statement in front. */
function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown';
  const { code } = cause as { code?: unknown };
  return [code, cause.message.split(' - ').at(-1)]
    .filter((part) => typeof part === 'string')
    .join(' ')
    .slice(0, 500);
}

/** Longer than any job waits for its turn while all is well. */
const OVERDUE_AFTER_MS = 60_000;
const MOST_ACCOUNTS = 1_000;

/**
 * Wakes the inboxes in which something has waited for too long: its job may have run out of attempts while the database was
 * ill. To wake one that is awake does no harm, so every instance may do it at once.
 */
export async function wakeOverdueInboxes({
  db,
  clock,
  log,
}: Pick<ProcessDependencies, 'db' | 'clock' | 'log'>): Promise<void> {
  const overdue = await rows<{ account_id: string }>(
    db,
    `SELECT DISTINCT account_id FROM webhook_events AS event
      WHERE status = 'PENDING' AND received_at < ? AND (retry_at IS NULL OR retry_at < now())
        AND (type = 'app_integration_removed'
             OR EXISTS (SELECT 1 FROM account_links AS link
                         WHERE link.account_id = event.account_id AND link.${IS_APPLIED}))
      LIMIT ?`,
    [new Date(clock().getTime() - OVERDUE_AFTER_MS), MOST_ACCOUNTS],
  );
  if (overdue.length > 0) log.warn({ accounts: overdue.length }, 'webhook events have waited for too long');
  for (const { account_id } of overdue) await enqueueInbox(db, account_id);
}
