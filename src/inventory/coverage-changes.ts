import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { run } from '../database/sql.js';
import { tellPages } from '../events/record-events.js';
import { endLiveViews, lockLiveViews } from '../live-views/live-views.js';
import { erasePictures } from '../pictures/pictures.js';
import { pauseUncovered, resumeCovered } from '../pictures/schedule-rows.js';
import { changeCoverage } from './device-rows.js';

/**
 * Has what follows from coverage happen for each device of a Ring account that has lost or regained it. A device that has
 * lost it: its live views end, also at Ring; its schedules pause; its pictures are erased. One that has regained it: its
 * schedules go on. The pages and streams of its user are told.
 *
 * Part of a transaction that holds the account's lock and the link's row: it happens whole or not at all, and once.
 */
export async function applyCoverage(
  trx: Knex.Transaction,
  { coverage, log }: Pick<Core, 'coverage' | 'log'>,
  accountId: string,
  now: Date,
): Promise<void> {
  const changed = await changeCoverage(trx, coverage, accountId, now);
  if (changed.length === 0) return;
  await lockLiveViews(trx, { accountId });
  for (const { id: deviceId, uncovered_since: uncoveredSince, online } of changed) {
    if (uncoveredSince === null) {
      await resumeCovered(trx, { accountId, id: deviceId, online }, now);
    } else {
      await endLiveViews(trx, { accountId, deviceId }, 'SUBSCRIPTION', now);
      await pauseUncovered(trx, accountId, deviceId);
      await erasePictures(trx, { accountId, deviceId });
    }
    log.info({ isCovered: uncoveredSince === null }, 'the coverage of a device has changed');
  }
  await run(trx, tellPages(accountId));
}
