import type { Core } from '../core.js';
import { row, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { enqueueMissedTimeOfAll } from './read-history.js';

/** Nobody has served when no instance said so for longer than this, in ms. */
const SILENCE_MS = 60_000;

/**
 * Says that this instance serves. When none did for more than a minute, all accounts have missed time. Postgres tells the
 * time, because the clocks of instances differ; the instances take turns at the row, so only the first one finds the silence.
 * Finding it, having the histories read and ending it are one transaction.
 */
export async function notePresence({ db, log }: Pick<Core, 'db' | 'log'>): Promise<void> {
  await db.transaction(async (trx) => {
    await run(trx, sql`INSERT INTO service_presence (seen_at) VALUES (now()) ON CONFLICT DO NOTHING`);
    const before = await row<Pick<Tables['service_presence'], 'seen_at'> & { was_silent: boolean }>(
      trx,
      sql`SELECT seen_at, clock_timestamp() - seen_at > ${SILENCE_MS} * interval '1 ms' AS was_silent
            FROM service_presence FOR UPDATE`,
    );
    if (before?.was_silent === true) {
      await enqueueMissedTimeOfAll(trx, { lostSince: before.seen_at, after: '' });
      log.warn({ since: before.seen_at }, 'no instance has served for a while; reading the histories of Ring');
    }
    await run(trx, sql`UPDATE service_presence SET seen_at = clock_timestamp()`);
  });
}
