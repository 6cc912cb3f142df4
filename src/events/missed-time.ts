import type { Core } from '../core.js';
import { rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { nameOfDevice, timeView, type TimeView } from '../devices/device-view.js';
import { SHARED_DEVICES } from '../devices/user-devices.js';
import { isRecorded } from './event-kinds.js';
import type { EventFilter, EventPage, EventPlace } from './list-events.js';

/** A time of which events may be missing from the list. */
export interface MissedTimeView {
  since: TimeView;
  until: TimeView;
  /** The names of the devices. */
  devices: string;
  /** The ID of the event above which it stands; null at the end of the list. */
  before: string | null;
}

type HistoryRow = Tables['device_histories'];

interface MissedTime {
  since: NonNullable<HistoryRow['missing_since']>;
  until: NonNullable<HistoryRow['missing_until']>;
  names: Tables['devices']['name'][];
}

const MOST_SHOWN = 20;
/** Ring usually tells its history sooner than this, in ms, and nothing is said of it then. */
const USUAL_MS = 60_000;

/**
 * The times of which Ring has not told its history so far, because it refused or because it takes long. Each is on the page of
 * the list where it ends.
 */
export async function missedTimesOn(
  { db, clock }: Pick<Core, 'db' | 'clock'>,
  userId: string,
  { deviceId, kind }: EventFilter,
  { events, hasMore }: EventPage,
  { before, after }: EventPlace,
): Promise<MissedTimeView[]> {
  if (kind !== undefined && !isRecorded(kind)) return [];
  const lately = new Date(clock().getTime() - USUAL_MS);
  const missed = await rows<MissedTime>(
    db,
    sql`SELECT missing_since AS since, missing_until AS until, array_agg(device.name ORDER BY device.name) AS names
          FROM ${SHARED_DEVICES}
          JOIN device_histories AS history ON history.account_id = device.account_id AND history.device_id = device.id
         WHERE link.user_id = ${userId} AND (history.read_error IS NOT NULL OR history.missing_until < ${lately})
           AND device.id = coalesce(${deviceId ?? null}, device.id)
         GROUP BY missing_since, missing_until ORDER BY missing_until DESC LIMIT ${MOST_SHOWN}`,
  );
  const isFirstPage = before === undefined && after === undefined;
  const isLastPage = after === undefined && !hasMore;
  return missed.flatMap(({ since, until, names }): MissedTimeView[] => {
    const index = events.findIndex(({ occurredAt }) => occurredAt <= until);
    if (index === -1 ? !isLastPage : index === 0 && !isFirstPage) return [];
    return [
      {
        since: timeView(since),
        until: timeView(until),
        devices: names.map(nameOfDevice).join(', '),
        before: events[index]?.requestId ?? null,
      },
    ];
  });
}
