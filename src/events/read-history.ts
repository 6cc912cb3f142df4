import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import type { RecordedType } from '../devices/recorded-events.js';
import { enqueue, jobKey } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { consentOf } from '../ring-accounts/consent.js';
import { isApplied } from '../ring-accounts/link-conditions.js';
import { inLinkedAccount } from '../ring-accounts/linked-account.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import type { Endpoint } from '../ring/endpoints.js';
import { isGone, RingError } from '../ring/errors.js';
import type { HistoryEvent, HistoryPage } from '../ring/history.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { NoLinkError } from '../tokens/errors.js';
import type { CallBudget } from '../tokens/call-budget.js';
import {
  endReading,
  findReading,
  historyKeyOf,
  lockReading,
  noteMissedTime,
  noteReadError,
  READ_HISTORY,
  type Reading,
  turnPage,
} from './history-rows.js';
import { SAME_EVENT_MS } from './pair-reports.js';
import { type HistoryEntry, mergeHistory, RETENTION_MS, tellPages } from './record-events.js';

/** The job that notes for all devices of an account that time was missed. */
export const NOTE_MISSED_TIME = 'note_missed_time';

/** The job that has it noted for all accounts, some at a time: many at once would take longer than a statement may. */
export const NOTE_MISSED_TIME_OF_ALL = 'note_missed_time_of_all';
const ACCOUNTS_AT_A_TIME = 100;

/** The pause when there is no turn for a call, because Ring has asked for one or this instance stops. */
const NO_TURN_PAUSE_MS = 10_000;
/** A page's address is refused this often before the refusal is taken for Ring's last word. */
const MOST_ATTEMPTS_AT_PAGE = 8;

export interface HistoryDependencies extends Pick<
  Core,
  'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'linkClockSkewSeconds'
> {
  historyBudget: CallBudget;
}

/**
 * Adds the job that has the histories of all devices of an account read, in the transaction that makes it necessary.
 *
 * @param lostSince null: since the user shared the devices
 */
export function enqueueMissedTime(on: Knex, accountId: string, lostSince: Date | null): Promise<void> {
  const key = jobKey(NOTE_MISSED_TIME, accountId, lostSince?.toISOString() ?? '');
  return enqueue(on, NOTE_MISSED_TIME, { accountId, lostSince }, { key });
}

const MissedPayload = z.object({
  accountId: z.string(),
  lostSince: z.string().pipe(z.coerce.date()).nullable(),
});

/** Notes for all devices of an account that time was missed. */
export async function noteMissed({ db, clock }: Pick<Core, 'db' | 'clock'>, payload: unknown): Promise<void> {
  const { accountId, lostSince } = MissedPayload.parse(payload);
  await db.transaction(async (trx) => {
    await lockAccount(trx, accountId);
    await noteMissedTime(trx, accountId, lostSince, clock());
  });
}

const OfAllPayload = z.object({
  lostSince: z.string().pipe(z.coerce.date()),
  /** The last account of those before, in the order of their IDs. */
  after: z.string(),
});

/** Adds the job for all accounts after one, in the transaction that finds out that time was missed. */
export function enqueueMissedTimeOfAll(on: Knex, job: z.output<typeof OfAllPayload>): Promise<void> {
  const key = jobKey(NOTE_MISSED_TIME_OF_ALL, job.lostSince.toISOString());
  return enqueue(on, NOTE_MISSED_TIME_OF_ALL, job, { key });
}

/** Each account gets a job of its own, so that none waits for one whose lock is held. */
export async function noteMissedOfAll({ db }: Pick<Core, 'db'>, payload: unknown): Promise<void> {
  const { lostSince, after } = OfAllPayload.parse(payload);
  await db.transaction(async (trx) => {
    const accounts = await rows<Pick<Tables['account_links'], 'account_id'>>(
      trx,
      sql`SELECT DISTINCT account_id FROM account_links
           WHERE ${isApplied()} AND account_id > ${after} ORDER BY account_id LIMIT ${ACCOUNTS_AT_A_TIME}`,
    );
    for (const { account_id: accountId } of accounts) await enqueueMissedTime(trx, accountId, lostSince);
    const last = accounts.at(-1);
    if (last !== undefined) await enqueueMissedTimeOfAll(trx, { lostSince, after: last.account_id });
  });
}

const Payload = z.object({ accountId: z.string(), deviceId: z.string(), attempt: z.number().int().min(1) });
type Job = z.output<typeof Payload>;

/** Ring may not be called now. */
class NoTurnError extends Error {}

/**
 * Reads the history of a device, newest first and page by page, for the time that was missed. Each page is merged in one
 * transaction with the mark that the next one is to be read, so a process that dies is taken over where it was.
 *
 * Live views, `on_demand`, are not asked for, and left out where they come all the same: no webhook tells of them, so the list
 * would have them only by chance, for times that were read here. They are what the user has done, and not what a device has
 * noticed.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export async function readHistory(dependencies: HistoryDependencies, payload: unknown): Promise<void> {
  const job = Payload.parse(payload);
  const { db } = dependencies;
  /** The pages that were read. Those that lead back to each other would be read without end. */
  const seen = new Set<string>();
  for (let reading = await findReading(db, job); reading !== undefined; reading = await findReading(db, job)) {
    const { next_page: address } = reading;
    let page: HistoryPage;
    try {
      if (address !== null && seen.has(address)) throw leadsBack();
      page = await askForPage(dependencies, job, reading);
    } catch (error) {
      await putOff(dependencies, job, reading, error);
      return;
    }
    // A reading that begins anew comes by the same pages.
    if (address === null) seen.clear();
    else seen.add(address);
    if (!(await mergePage(dependencies, job, reading, page))) return;
  }
}

/** A history whose pages lead back to each other is not told to its end. */
const leadsBack = (): RingError =>
  new RingError('malformed', 'GET /v1/history/devices/{id}/events' satisfies Endpoint, { status: 200 });

function askForPage(
  { ring, tokens, historyBudget }: HistoryDependencies,
  { accountId, deviceId }: Job,
  { next_page }: Reading,
): Promise<HistoryPage> {
  return tokens.forAccount(accountId, async (accessToken) => {
    if (!(await historyBudget.take())) throw new NoTurnError('no turn for a call to Ring');
    return ring.getHistory(accessToken, deviceId, next_page ?? undefined);
  });
}

/** @returns false when the account is not linked any more */
async function mergePage(
  { db, clock, linkClockSkewSeconds }: HistoryDependencies,
  job: Job,
  read: Reading,
  page: HistoryPage,
): Promise<boolean> {
  let isLinked = false;
  await inLinkedAccount(db, job.accountId, async (trx) => {
    isLinked = true;
    const reading = await lockReading(trx, job);
    // Another job has read this page, or more is to be read by now: that begins anew.
    if (reading === undefined || !isSame(reading, read)) return;
    const now = clock();
    const earliest = await earliestOf(trx, job, reading, now);
    const latest = now.getTime() + linkClockSkewSeconds * 1_000;
    const entries = page.events.flatMap((event): HistoryEntry[] => {
      const type = typeOf(event);
      if (type === undefined || event.startedAt < earliest || event.deviceId !== job.deviceId) return [];
      const startedAt = event.startedAt.getTime() > latest ? now : event.startedAt;
      return [{ historyId: event.id, type, startedAt }];
    });
    await mergeHistory(trx, job, entries);
    const isRead = page.events.some(({ startedAt }) => startedAt < earliest);
    if (page.next !== null && !isRead) {
      await turnPage(trx, job, page.next);
      return;
    }
    await endReading(trx, job);
    await run(trx, tellPages(job.accountId));
  });
  return isLinked;
}

const isSame = (one: Reading, other: Reading): boolean =>
  one.next_page === other.next_page &&
  one.missing_since.getTime() === other.missing_since.getTime() &&
  one.missing_until.getTime() === other.missing_until.getTime() &&
  one.read_since.getTime() === other.read_since.getTime();

/** Before this, nothing is recorded: it was known, was not shared with us, was erased, or would be purged. */
async function earliestOf(
  trx: Knex.Transaction,
  { accountId }: Job,
  { read_since }: Reading,
  now: Date,
): Promise<Date> {
  const consent = (await consentOf(trx, accountId)) ?? now;
  const times = [consent.getTime(), read_since.getTime() - SAME_EVENT_MS, now.getTime() - RETENTION_MS];
  return new Date(Math.max(...times));
}

function typeOf({ kind }: HistoryEvent): RecordedType | undefined {
  switch (kind) {
    case 'motion':
      return 'motion_detected';
    case 'ding':
      return 'button_press';
    case 'on_demand':
      return undefined;
  }
}

/** Has the page asked for again later, unless that would be in vain. */
async function putOff(
  dependencies: HistoryDependencies,
  job: Job,
  { next_page }: Reading,
  error: unknown,
): Promise<void> {
  const { db, clock, historyBudget } = dependencies;
  const { accountId, deviceId, attempt } = job;
  // A link that is made whole, or made again, has the history read then.
  if (error instanceof NoLinkError) return;
  if (error instanceof NoTurnError) {
    await enqueue(db, READ_HISTORY, job, { key: historyKeyOf(job), delayMs: NO_TURN_PAUSE_MS });
    return;
  }
  if (error instanceof RingError) {
    if (error.kind === 'rate-limited') await historyBudget.pause(error.retryAfterSeconds ?? 1);
    await noteReadError(db, job, error.reason);
    await run(db, tellPages(accountId));
  }
  if (isGone(error)) {
    await refetchDevice(db, { accountId, deviceId, occurredAt: clock() });
    return;
  }
  // The address of a page may be too old by now. The pages before it are merged, and merging them again changes nothing.
  const isOldPage = error instanceof RingError && error.kind === 'rejected' && next_page !== null;
  if (isOldPage && attempt < MOST_ATTEMPTS_AT_PAGE) {
    await turnPage(db, job, null);
    const again = { ...job, attempt: attempt + 1 };
    await enqueue(db, READ_HISTORY, again, { key: historyKeyOf(job), delayMs: retryPauseMs(attempt, 60_000) });
    return;
  }
  await retryRingCall(dependencies, READ_HISTORY, job, historyKeyOf(job), error);
}
