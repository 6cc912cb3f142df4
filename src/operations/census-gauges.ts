import { Registry } from 'prom-client';
import { sql } from '../database/sql.js';
import { LINK_STATUSES } from '../ring-accounts/links.js';
import { REFRESH_STATES } from '../tokens/pair-rows.js';
import { type Count, countOf, gaugesOf, type Reading } from './reading.js';

/** The ages of refresh tokens, from the youngest. */
const AGES = ['0-1d', '1-2d', '2-7d', '7-20d', '20-30d', 'over-30d'] as const;

/** The gauges of everything that there is. Reading them walks whole indexes: some 100 ms for a million rows. */
export function createCensus(): Reading {
  const registry = new Registry();
  const gauge = gaugesOf(registry);

  const links = gauge(
    'ring_link_links',
    'Links between a partner user and a Ring account, ended ones included.',
    'status',
  );
  const ages = gauge(
    'ring_link_refresh_tokens',
    'Refresh tokens of claimed pairs by age. They live about 30 days, and are replaced once a day.',
    'age',
  );
  const pairs = gauge(
    'ring_link_claimed_pairs',
    'Claimed token pairs by what became of their last refresh. UNCERTAIN: Ring may have replaced the pair without our learning of it.',
    'refresh_state',
  );
  const schedules = gauge('ring_link_scheduled_operations', 'Scheduled pictures.', 'status');

  return {
    name: 'census',
    registry,
    async read(client, now) {
      const { rows: byStatus } = await client.query<Count>(
        sql`SELECT status AS label, count(*)::int AS count FROM account_links GROUP BY 1`.numbered,
      );
      const { rows: states } = await client.query<Count>(
        sql`SELECT refresh_state AS label, count(*)::int AS count
              FROM ring_tokens WHERE status = 'CLAIMED' GROUP BY 1`.numbered,
      );
      const daysAgo = (days: number) => sql`${new Date(now.getTime() - days * 86_400_000)}::timestamptz`;
      // Only tokens that are over a day old are read, normally none. All others are younger.
      const { rows: aged } = await client.query<Count>(
        sql`SELECT CASE WHEN issued < ${daysAgo(30)} THEN 'over-30d'
                        WHEN issued < ${daysAgo(20)} THEN '20-30d'
                        WHEN issued < ${daysAgo(7)} THEN '7-20d'
                        WHEN issued < ${daysAgo(2)} THEN '2-7d'
                        ELSE '1-2d' END AS label, count(*)::int AS count
              FROM (SELECT coalesce(refreshed_at, created_at) AS issued FROM ring_tokens
                     WHERE status = 'CLAIMED' AND coalesce(refreshed_at, created_at) < ${daysAgo(1)}) AS old
             GROUP BY 1`.numbered,
      );
      const { rows: scheduled } = await client.query<Count>(
        sql`SELECT status AS label, count(*)::int AS count FROM scheduled_operations GROUP BY 1`.numbered,
      );

      for (const status of LINK_STATUSES) links.set({ status }, countOf(byStatus, status));
      for (const state of REFRESH_STATES) pairs.set({ refresh_state: state }, countOf(states, state));
      for (const age of AGES) ages.set({ age }, countOf(aged, age));
      ages.set({ age: '0-1d' }, Math.max(0, sum(states) - sum(aged)));
      for (const status of ['ACTIVE', 'PAUSED']) schedules.set({ status }, countOf(scheduled, status));
    },
  };
}

const sum = (counts: readonly Count[]): number => counts.reduce((total, { count }) => total + count, 0);
