import type { Core } from '../core.js';
import { run, sql } from '../database/sql.js';
import { isDatabaseUnavailable } from '../database/unavailable.js';
import { failEvent, markProcessed, postponeEvent } from '../inbox/event-rows.js';
import { nextEvents, type PendingEvent, type Portion } from '../inbox/pending.js';
import { onBehalfOf } from '../request-id.js';
import { tryLockAccounts } from '../ring-accounts/account-lock.js';
import { type LinkState, lockLinkStates } from '../ring-accounts/link-state.js';
import { type EventType, isKnown, parseEvent, type RingEvent } from '../ring/events.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { applyGathered } from './gathered.js';
import type { HandlerContext } from './handler.js';
import { handle } from './handlers.js';

export interface ApplyDependencies extends Pick<Core, 'db' | 'clock' | 'log'> {
  /** Called for each event that was applied, once that is committed. */
  onApplied: (event: Pick<RingEvent, 'type' | 'sentAt'>) => void;
  /** Called for each attempt that counts as a failed one. */
  onFailed: (type: EventType | 'unknown') => void;
}

/**
 * How it goes on with an account: there is nothing more to apply; there is more; there may be more after a pause, in ms; there
 * is an event that has to be applied {@link applyCarefully}.
 */
export type Outlook = 'done' | 'more' | 'careful' | { pauseMs: number };

/** The most in one transaction, of all accounts together. */
const BATCH: Portion = { events: 500, bytes: 16 * 1_024 * 1_024 };
/** Fewer, because a failure rolls the others back. */
const CAREFUL_BATCH: Portion = { ...BATCH, events: 50 };
/** The pause for an account that is locked by another transaction, which may miss the latest events. */
const BUSY_PAUSE_MS = 100;
/** Made within some twenty minutes, with pauses of 1 s, 2 s, 4 s … 5 min. */
const MAX_ATTEMPTS = 12;
const MAX_PAUSE_MS = 5 * 60_000;

/** Postgres' codes for what other transactions are the cause of: a time limit, a lock's time limit, and a circle of locks. */
const QUERY_CANCELED = '57014';
const CONTENTION = new Set<unknown>([QUERY_CANCELED, '55P03', '40001', '40P01']);

/** One event of a batch could not be applied. The whole batch is rolled back, and the others are applied without it. */
class HandlerError extends Error {
  constructor(
    readonly failed: PendingEvent,
    /** How many events of the batch came before it. */
    readonly index: number,
    override readonly cause: unknown,
  ) {
    super('an event could not be applied', { cause });
  }
}

/**
 * Applies the next pending events of some accounts, those of each in the order of arrival, all in one transaction. An event
 * and the mark that it was applied are one: it takes effect once, however often it is delivered and wherever the process dies.
 *
 * Before an account is linked only the removal of the integration is applied; the others wait for the link.
 *
 * @returns how it goes on with each account. When one of them fails nothing is applied, and all of them are left to
 *   {@link applyCarefully}.
 * @throws when the database is unavailable
 */
export async function applyTogether(
  dependencies: ApplyDependencies,
  accountIds: readonly string[],
): Promise<ReadonlyMap<string, Outlook>> {
  try {
    return await applyBatch(dependencies, accountIds, { portion: shareOf(accountIds.length), isCareful: false });
  } catch (error) {
    const cause = error instanceof HandlerError ? error.cause : error;
    if (isOutage(cause)) throw cause;
    dependencies.log.debug({ err: cause, accounts: accountIds.length }, 'events were not applied together; one by one');
    return new Map(accountIds.map((accountId) => [accountId, 'careful']));
  }
}

/**
 * Applies the next pending events of one account like {@link applyTogether}. One that fails is postponed with growing pauses,
 * and given up in the end; those behind it wait as long.
 *
 * @throws when the fault is not the event's
 */
export async function applyCarefully(dependencies: ApplyDependencies, accountId: string): Promise<Outlook> {
  const apply = async (portion: Portion) =>
    (await applyBatch(dependencies, [accountId], { portion, isCareful: true })).get(accountId) ?? 'done';
  try {
    return await apply(CAREFUL_BATCH);
  } catch (error) {
    if (!(error instanceof HandlerError) || isPassing(error.cause)) throw error;
    // The events before it were rolled back with it, so they are applied first. An event that is the first is postponed.
    if (error.index > 0) await apply({ ...CAREFUL_BATCH, events: error.index });
    else await recordFailure(dependencies, error);
    return 'careful';
  }
}

/** What each of some accounts may have of a batch. */
const shareOf = (accounts: number): Portion => ({
  events: Math.max(1, Math.floor(BATCH.events / accounts)),
  bytes: BATCH.bytes / accounts,
});

interface BatchOptions {
  /** The most of each account. */
  portion: Portion;
  /** Whether an event is tried that has failed before. */
  isCareful: boolean;
}

async function applyBatch(
  { db, clock, onApplied }: ApplyDependencies,
  accountIds: readonly string[],
  { portion, isCareful }: BatchOptions,
): Promise<ReadonlyMap<string, Outlook>> {
  const outlooks = new Map<string, Outlook>(accountIds.map((accountId) => [accountId, { pauseMs: BUSY_PAUSE_MS }]));
  const applied = await db.transaction(async (trx) => {
    // A row that another transaction has locked keeps its own account waiting, and not the others for long.
    if (accountIds.length > 1) await run(trx, sql`SET LOCAL lock_timeout = '500ms'`);
    const locked = await tryLockAccounts(trx, accountIds);
    if (locked.length === 0) return [];
    const links = await lockLinkStates(trx, locked);
    const context: HandlerContext = { trx, now: clock(), gathered: [] };
    const all: AppliedEvent[] = [];
    for (const [accountId, { events, isCut }] of await nextEvents(trx, links, portion)) {
      const wait = waitFor(events, isCareful);
      const some = wait === undefined ? await applyInOrder(context, events, links.get(accountId), isCareful) : [];
      const hasMore = some.length < events.length || isCut || hasEnded(some);
      outlooks.set(accountId, wait ?? (hasMore ? 'more' : 'done'));
      all.push(...some);
    }
    await applyGathered(context);
    if (all.length > 0) await markProcessed(trx, all, context.now);
    return all;
  });
  for (const { event } of applied) onApplied(event);
  return outlooks;
}

/** How it goes on with an account of which nothing can be applied in this way; undefined when its next event can. */
function waitFor([head]: readonly PendingEvent[], isCareful: boolean): Outlook | undefined {
  if (head === undefined) return 'done';
  if (head.pause_ms > 0) return { pauseMs: head.pause_ms };
  return head.attempts > 0 && !isCareful ? 'careful' : undefined;
}

interface AppliedEvent {
  id: PendingEvent['id'];
  event: RingEvent;
  /** Whether its link is gone. */
  isPast: boolean;
}

/**
 * Applies events of an account up to the end of the integration, because those behind it may be for the next link, or for
 * none, and up to a paused event, because those behind it wait with it.
 *
 * @returns the events that were applied, void ones among them: the first of those given
 * @throws {HandlerError}
 */
async function applyInOrder(
  context: HandlerContext,
  pending: readonly PendingEvent[],
  { voidBefore }: Pick<LinkState, 'voidBefore'> = { voidBefore: null },
  isCareful: boolean,
): Promise<AppliedEvent[]> {
  const applied: AppliedEvent[] = [];
  for (const [index, one] of pending.entries()) {
    if (one.pause_ms > 0) break;
    try {
      const event = readEvent(one);
      const isLate = voidBefore !== null && event.occurredAt < voidBefore;
      const isEnd = event.type === 'app_integration_removed';
      // An event that happened under a former link is void, but for the end of an integration.
      if (isEnd || !isLate) await onBehalfOf(one.request_id, () => handle(context, event));
      // An event that fails is known by itself only if none is gathered.
      if (isCareful) await applyGathered(context);
      applied.push({ id: one.id, event, isPast: isEnd || isLate });
      if (isEnd) break;
    } catch (cause) {
      throw new HandlerError(one, index, cause);
    }
  }
  return applied;
}

const hasEnded = (applied: readonly AppliedEvent[]): boolean =>
  applied.at(-1)?.event.type === 'app_integration_removed';

/** @throws when another version of this service has stored an event that this one does not know */
function readEvent({ body, occurred_at }: PendingEvent): RingEvent {
  const parsed = parseEvent(Buffer.from(body));
  if (parsed.kind !== 'event') throw new Error('this version can not read the event');
  // The inbox has corrected a time in the future.
  return { ...parsed.event, occurredAt: occurred_at };
}

/** Whether the database is away. What other transactions are the cause of is over when an account is tried by itself. */
function isOutage(error: unknown): boolean {
  return isDatabaseUnavailable(error) && !CONTENTION.has((error as { code?: unknown }).code);
}

/**
 * Whether the error is the database's and says nothing about the event. A statement that ran into its time limit does: an
 * event that always takes too long must not be tried for ever.
 */
function isPassing(error: unknown): boolean {
  return isDatabaseUnavailable(error) && (error as { code?: unknown }).code !== QUERY_CANCELED;
}

/** Postpones the event, or gives it up. The next batch finds it paused, or the events behind it. */
async function recordFailure({ db, log, onFailed }: ApplyDependencies, { failed, cause }: HandlerError): Promise<void> {
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
