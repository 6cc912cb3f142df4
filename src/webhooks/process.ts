import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isDatabaseUnavailable } from '../database/unavailable.js';
import { failEvent, markProcessed, postponeEvent } from '../inbox/event-rows.js';
import { enqueueInbox } from '../inbox/wake-up.js';
import { onBehalfOf } from '../request-id.js';
import { tryLockAccount } from '../ring-accounts/account-lock.js';
import { isApplied, isLive } from '../ring-accounts/link-conditions.js';
import { type EventType, isKnown, parseEvent, type RingEvent } from '../ring/events.js';
import { retryPauseMs } from '../time/retry-pause.js';
import type { HandlerContext } from './handler.js';
import { handle } from './handlers.js';

export interface ProcessDependencies extends Pick<Core, 'db' | 'clock' | 'log'> {
  /** Called for each event that was applied, once that is committed. */
  onApplied: (event: Pick<RingEvent, 'type' | 'sentAt'>) => void;
  /** Called for each attempt that counts as a failed one. */
  onFailed: (type: EventType | 'unknown') => void;
}

/** Postgres' code for a statement that took longer than it may. */
const QUERY_CANCELED = '57014';

const Payload = z.object({ accountIds: z.array(z.string()) });

/** Events in one transaction. */
const BATCH = 50;
/** After so many batches it is other accounts' turn. */
const BATCHES_PER_JOB = 20;
/** The pause for an account that is locked by another transaction. */
const BUSY_PAUSE_MS = 100;
/** Made within some twenty minutes, with pauses of 1 s, 2 s, 4 s … 5 min. */
const MAX_ATTEMPTS = 12;
const MAX_PAUSE_MS = 5 * 60_000;

type PendingEvent = Pick<
  Tables['webhook_events'],
  'id' | 'type' | 'occurred_at' | 'request_id' | 'account_id' | 'attempts'
> & {
  /** Only events that are not pending any more have lost their body. */
  body: string;
  /** How long it still has to wait after a failed attempt, in ms. */
  pause_ms: number;
};

/** One event of a batch could not be applied. The whole batch is rolled back, and the others are applied without it. */
class HandlerError extends Error {
  constructor(
    readonly failed: PendingEvent,
    /** How many events of the batch came before it. */
    readonly index: number,
    override readonly cause: unknown,
  ) {
    super('an event could not be applied');
  }
}

/** Applies the pending events of each account. A failure with one account stops no other. */
export async function processInbox(dependencies: ProcessDependencies, payload: unknown): Promise<void> {
  const { accountIds } = Payload.parse(payload);
  const errors: unknown[] = [];
  for (const accountId of await withWork(dependencies.db, accountIds)) {
    await processAccount(dependencies, accountId).catch((error: unknown) => errors.push(error));
  }
  // Thrown, so that the queue shows it and runs the job again.
  if (errors.length > 0) throw errors[0];
}

/**
 * Applies the pending events of one account, in the order of arrival. An event and the mark that it was applied are one
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
    // The events before it were rolled back with it, so they are applied first. An event that is the first is postponed.
    if (error.index > 0) await processBatch(dependencies, accountId, error.index);
    else await recordFailure(dependencies, error);
    return false;
  }
}

/** Those of the accounts that have something to apply. Under load another job has applied most of it already. */
async function withWork(db: Knex, accountIds: string[]): Promise<string[]> {
  const found = await rows<Pick<Tables['webhook_events'], 'account_id'>>(
    db,
    sql`SELECT account_id FROM unnest(${accountIds}::text[]) AS given (account_id)
         WHERE EXISTS (SELECT 1 FROM webhook_events AS event
                        WHERE event.account_id = given.account_id AND status = 'PENDING'
                          AND type = 'app_integration_removed')
            OR EXISTS (SELECT 1 FROM account_links AS link JOIN webhook_events AS event USING (account_id)
                        WHERE link.account_id = given.account_id AND link.removed_at > event.occurred_at
                          AND event.status = 'PENDING')
            OR (EXISTS (SELECT 1 FROM account_links AS link
                         WHERE link.account_id = given.account_id AND ${isApplied('link')})
                AND EXISTS (SELECT 1 FROM webhook_events AS event
                             WHERE event.account_id = given.account_id AND status = 'PENDING'))`,
  );
  return found.map(({ account_id }) => account_id);
}

/** @returns whether there is nothing more to do now. @throws {HandlerError} */
async function processBatch(dependencies: ProcessDependencies, accountId: string, size: number): Promise<boolean> {
  const { db, clock } = dependencies;
  const { applied, isFinished } = await db.transaction((trx) => applyBatch({ trx, clock }, accountId, size));
  for (const event of applied) dependencies.onApplied(event);
  return isFinished;
}

interface AppliedBatch {
  applied: readonly RingEvent[];
  /** Whether there is nothing more to do now. */
  isFinished: boolean;
}

const NOTHING_TO_DO: AppliedBatch = { applied: [], isFinished: true };

/** Applies the account's next events and marks them. Events that have to wait get a job for later. @throws {HandlerError} */
async function applyBatch(
  { trx, clock }: Pick<Core, 'clock'> & { trx: Knex.Transaction },
  accountId: string,
  size: number,
): Promise<AppliedBatch> {
  if (!(await tryLockAccount(trx, accountId))) {
    // The transaction with the lock may miss the latest events. Waiting for it would keep a worker from other accounts.
    await enqueueInbox(trx, accountId, BUSY_PAUSE_MS);
    return NOTHING_TO_DO;
  }
  const link = await linkState(trx, accountId);
  const pending = await nextEvents(trx, accountId, link, size);
  const [head] = pending;
  if (head === undefined) return NOTHING_TO_DO;
  if (head.pause_ms > 0) {
    await enqueueInbox(trx, accountId, head.pause_ms);
    return NOTHING_TO_DO;
  }
  const now = clock();
  const applied = await applyInOrder({ trx, now }, pending, link);
  const hasIntegrationEnded = applied.at(-1)?.type === 'app_integration_removed';
  const ids = pending.slice(0, applied.length).map(({ id }) => id);
  await markProcessed(trx, ids, { now, voidBefore: link.voidBefore, hasIntegrationEnded });
  const isFinished = applied.length === pending.length && pending.length < size && !hasIntegrationEnded;
  return { applied, isFinished };
}

/**
 * Applies events up to the end of the integration, because those behind it may be for the next link, or for none, and up to
 * a paused event, because those behind it wait with it.
 *
 * @returns the events that were applied, void ones among them: the first of those given
 * @throws {HandlerError}
 */
async function applyInOrder(
  context: HandlerContext,
  pending: readonly PendingEvent[],
  link: LinkState,
): Promise<RingEvent[]> {
  const applied: RingEvent[] = [];
  for (const [index, one] of pending.entries()) {
    if (one.pause_ms > 0) break;
    try {
      applied.push(await applyEvent(context, one, link));
    } catch (cause) {
      throw new HandlerError(one, index, cause);
    }
    if (applied.at(-1)?.type === 'app_integration_removed') break;
  }
  return applied;
}

/** Applies one event on behalf of the request that brought it, unless it is void. */
async function applyEvent(context: HandlerContext, pending: PendingEvent, link: LinkState): Promise<RingEvent> {
  const event = readEvent(pending);
  if (!isVoid(event, link)) await onBehalfOf(pending.request_id, () => handle(context, event));
  return event;
}

/** Whether an event happened under a former link. The end of an integration is never void. */
function isVoid({ type, occurredAt }: RingEvent, { voidBefore }: LinkState): boolean {
  return type !== 'app_integration_removed' && voidBefore !== null && occurredAt < voidBefore;
}

interface LinkState {
  isLinked: boolean;
  voidBefore: Tables['account_links']['void_before'];
}

/**
 * Whether there is a link to apply events to, and until when the account's former link lasted: an event that happened before
 * that and arrives late does not concern the present link.
 */
async function linkState(trx: Knex.Transaction, accountId: string): Promise<LinkState> {
  // The link is locked before its devices, in the order that `lockAccount` gives.
  await run(trx, sql`SELECT 1 FROM account_links WHERE account_id = ${accountId} AND ${isLive()} FOR UPDATE`);
  const found = await row<{ is_linked: boolean } & Pick<Tables['account_links'], 'void_before'>>(
    trx,
    sql`SELECT coalesce(bool_or(${isApplied()}), false) AS is_linked,
               greatest(max(removed_at), max(void_before)) AS void_before
          FROM account_links WHERE account_id = ${accountId}`,
  );
  return { isLinked: found?.is_linked ?? false, voidBefore: found?.void_before ?? null };
}

/**
 * The next events in the order of arrival, but the end of the integration first, because the others become void with it. For
 * an account that is not linked, only that end, and events that are void already.
 */
async function nextEvents(
  trx: Knex.Transaction,
  accountId: string,
  { isLinked, voidBefore }: LinkState,
  size: number,
): Promise<PendingEvent[]> {
  const select = sql`
    SELECT id, request_id, account_id, type, body, occurred_at, attempts,
           coalesce(extract(epoch FROM retry_at - now()) * 1000, 0)::float AS pause_ms
      FROM webhook_events WHERE account_id = ${accountId} AND status = 'PENDING'`;
  // A statement of its own, so that each has an index in its order: an account may have any number of pending events.
  const removal = await rows<PendingEvent>(
    trx,
    sql`${select} AND type = 'app_integration_removed' ORDER BY id LIMIT 1`,
  );
  if (removal.length > 0) return removal;
  if (isLinked) return rows<PendingEvent>(trx, sql`${select} ORDER BY id LIMIT ${size}`);
  if (voidBefore === null) return [];
  return rows<PendingEvent>(trx, sql`${select} AND occurred_at < ${voidBefore} ORDER BY id LIMIT ${size}`);
}

/** @throws when another version of this service has stored an event that this one does not know */
function readEvent({ body, occurred_at }: PendingEvent): RingEvent {
  const parsed = parseEvent(Buffer.from(body));
  if (parsed.kind !== 'event') throw new Error('this version can not read the event');
  // The inbox has corrected a time in the future.
  return { ...parsed.event, occurredAt: occurred_at };
}

/**
 * Whether the error is the database's and says nothing about the event. A statement that ran into its time limit does: an
 * event that always takes too long must not be tried for ever.
 */
function isPassing(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code !== QUERY_CANCELED && isDatabaseUnavailable(error);
}

/** Postpones the event, or gives it up. The next batch finds it paused, or the events behind it. */
async function recordFailure(
  { db, log, onFailed }: ProcessDependencies,
  { failed, cause }: HandlerError,
): Promise<void> {
  const { id, request_id: request, account_id: account, type } = failed;
  const attempts = failed.attempts + 1;
  const isFinal = attempts >= MAX_ATTEMPTS;
  log[isFinal ? 'error' : 'warn'](
    { request, account, type, err: cause, attempts },
    isFinal ? 'a webhook event has failed for good' : 'a webhook event could not be applied; trying again',
  );
  const attempt = { id, attempts, reason: reasonOfFailure(cause) };
  if (isFinal) await failEvent(db, attempt);
  else await postponeEvent(db, attempt, retryPauseMs(attempts, MAX_PAUSE_MS));
  onFailed(isKnown(type) ? type : 'unknown');
}

/** The reason for an operator, without the statement that Knex puts in front of it. */
function reasonOfFailure(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown';
  const { code } = cause as { code?: unknown };
  return [code, cause.message.split(' - ').at(-1)]
    .filter((part) => typeof part === 'string')
    .join(' ')
    .slice(0, 500);
}
