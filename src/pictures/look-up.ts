import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import { IS_RECORDED } from '../devices/recorded-events.js';
import { SHARED_DEVICES } from '../devices/user-devices.js';
import { consentOf } from '../ring-accounts/consent.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { isGone, RingError } from '../ring/errors.js';
import { type EncryptedMedia, LONGEST_WINDOW_MS, type PictureQuery, type RingPicture } from '../ring/media.js';
import { NoLinkError } from '../tokens/errors.js';
import { isOutcome, type MissingOutcome, outcomeOf } from './outcomes.js';

export type LookUpDependencies = Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'linkClockSkewSeconds'>;

/** What is looked for: the picture of a moment, or the latest one. */
export interface Wish {
  accountId: string;
  deviceId: string;
  moment: Date | null;
}

export type LookedUp =
  | { kind: 'picture'; picture: RingPicture }
  /** `error` is Ring's refusal; null when the picture came, and can't be read. */
  | { kind: 'missing'; outcome: MissingOutcome; error: RingError | null };

/** Whoever is waiting gets at most so many windows of a day asked about, one after the other. A schedule looks less far. */
export const DAYS_FOR_A_USER = 7;
export const DAYS_FOR_A_SCHEDULE = 1;

/** Ring may get a question this much later than it was made, because the token had to be refreshed first. */
const UNTIL_ASKED_MS = 60_000;

/** A recording goes on for a while after the event that began it. */
const AFTER_EVENT_MS = 10 * 60_000;

/**
 * Looks up a picture among those that Ring has recorded. A device that Ring does not know has a job find out whether it is
 * gone.
 *
 * @param mostDays how many days before the last one are asked about, while nothing is found in them
 * @throws {NoLinkError} when there is no link that Ring could be asked for
 */
export async function lookUp(dependencies: LookUpDependencies, wish: Wish, mostDays: number): Promise<LookedUp> {
  const { db, clock, log } = dependencies;
  try {
    const media =
      wish.moment === null
        ? await lookUpLatest(dependencies, wish, mostDays)
        : await ask(dependencies, wish, { type: 'at_timestamp', timestamp: wish.moment });
    if (media.kind === 'picture') return { kind: 'picture', picture: media };
    return { kind: 'missing', outcome: 'encrypted', error: null };
  } catch (error) {
    if (!(error instanceof RingError)) throw error;
    const { accountId, deviceId } = wish;
    const outcome = outcomeOf(error);
    if (outcome === 'failed' || outcome === 'busy') log.warn({ err: error }, 'Ring gave no picture');
    if (isGone(error)) await refetchDevice(db, { accountId, deviceId, occurredAt: clock() });
    return { kind: 'missing', outcome, error };
  }
}

function ask(
  { ring, tokens }: Pick<Core, 'ring' | 'tokens'>,
  { accountId, deviceId }: Wish,
  query: PictureQuery,
): Promise<RingPicture | EncryptedMedia> {
  return tokens.forAccount(accountId, (accessToken) => ring.downloadPicture(accessToken, deviceId, query));
}

/**
 * The newest picture of the last day, by Ring's clock. When there is none and an event is known from before that, the days
 * before are asked about step by step, and after `mostDays` of them the day of that event.
 */
async function lookUpLatest(
  dependencies: LookUpDependencies,
  wish: Wish,
  mostDays: number,
): Promise<RingPicture | EncryptedMedia> {
  const { db, clock, linkClockSkewSeconds } = dependencies;
  const consent = await consentOf(db, wish.accountId);
  if (consent === undefined) throw new NoLinkError('there is no link on whose behalf Ring could be called');
  const search: Search = { wish, skewMs: linkClockSkewSeconds * 1_000, earliest: consent.getTime() };

  let start = clock().getTime() - LONGEST_WINDOW_MS + search.skewMs + UNTIL_ASKED_MS;
  let found = await latestIn(dependencies, search, { start });
  const event = found instanceof RingError ? await newestEventWithoutPicture(db, wish) : undefined;
  for (let day = 1; event !== undefined && found instanceof RingError; day++) {
    if (event >= start || search.earliest >= start) break;
    const end = day > mostDays ? Math.min(start, event + AFTER_EVENT_MS) : start;
    start = end - LONGEST_WINDOW_MS;
    found = await latestIn(dependencies, search, { start, end });
  }
  if (found instanceof RingError) throw found;
  return found;
}

interface Search {
  wish: Wish;
  /** How far Ring's clock and ours may be apart. */
  skewMs: number;
  /** Since when Ring lets us see the device, in epoch ms: it turns out to be later when Ring refuses that. */
  earliest: number;
}

/** In epoch ms; without an end, until now by Ring's clock. */
interface Window {
  start: number;
  end?: number;
}

/** The newest picture of a time; Ring's refusal when nothing was recorded in it. */
async function latestIn(
  dependencies: LookUpDependencies,
  search: Search,
  window: Window,
): Promise<RingPicture | EncryptedMedia | RingError> {
  try {
    return await latestOfShared(dependencies, search, window);
  } catch (error) {
    if (isOutcome(error, 'nothing')) return error;
    throw error;
  }
}

/** The newest picture of a time, as far as the device was shared in it. A time that begins before that, Ring refuses whole. */
async function latestOfShared(
  dependencies: LookUpDependencies,
  search: Search,
  { start, end }: Window,
): Promise<RingPicture | EncryptedMedia> {
  const askSince = (since: number) =>
    ask(dependencies, search.wish, {
      type: 'latest_in_range',
      start: new Date(Math.max(start, since)),
      ...(end !== undefined && { end: new Date(end) }),
    });
  try {
    return await askSince(search.earliest);
  } catch (error) {
    if (!isOutcome(error, 'not-shared')) throw error;
    for (const later of await laterBeginnings(dependencies.db, search)) {
      // The same would be refused again.
      if (later <= start) continue;
      search.earliest = Math.min(later, end ?? dependencies.clock().getTime());
      try {
        return await askSince(search.earliest);
      } catch (again) {
        if (!isOutcome(again, 'not-shared')) throw again;
      }
    }
    throw error;
  }
}

/**
 * Times at which the consent may begin by Ring's clock, when it is later than we know: as much later as the clocks may be
 * apart, or when the link was completed or the device added, because users may pick their devices after we have their pair.
 */
async function laterBeginnings(
  db: Core['db'],
  { wish: { accountId, deviceId }, earliest, skewMs }: Search,
): Promise<number[]> {
  const shared = await row<{ since: Date | null }>(
    db,
    sql`SELECT greatest(link.completed_at, device.added_at) AS since FROM ${SHARED_DEVICES}
         WHERE device.account_id = ${accountId} AND device.id = ${deviceId}`,
  );
  const since = shared?.since?.getTime() ?? earliest;
  return since > earliest ? [earliest + skewMs, since + skewMs] : [earliest + skewMs];
}

/** The time of the newest event that something was recorded of; undefined when a picture from then or later is kept. */
async function newestEventWithoutPicture(db: Core['db'], { accountId, deviceId }: Wish): Promise<number | undefined> {
  const event = await row<{ occurred_at: Date }>(
    db,
    sql`SELECT occurred_at FROM device_events AS event
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND ${IS_RECORDED}
           AND NOT EXISTS (SELECT 1 FROM snapshots
                            WHERE account_id = event.account_id AND device_id = event.device_id
                              AND taken_at >= event.occurred_at)
         ORDER BY occurred_at DESC LIMIT 1`,
  );
  return event?.occurred_at.getTime();
}
