import { Registry } from 'prom-client';
import { sql } from '../database/sql.js';
import { isApplied } from '../ring-accounts/link-conditions.js';
import { NONCE_TOO_OLD } from '../ring-accounts/links.js';
import { ageOf, type Count, countOf, gaugesOf, type Reading, secondsSince, type Waiting } from './reading.js';

/** The gauges of everything that waits, and for how long. A partial index serves each statement. */
export function createBacklog(): Reading {
  const registry = new Registry();
  const gauge = gaugesOf(registry);

  const unclaimed = gauge(
    'ring_link_unclaimed_pairs',
    'Token pairs in the pool that every match walks: their account is known, their user has not come yet.',
  );
  const unclaimedAge = gauge(
    'ring_link_unclaimed_oldest_age_seconds',
    'How long the oldest unclaimed token pair has waited for its user; above UNCLAIMED_TTL_SECONDS the expiry is late.',
  );
  const unidentified = gauge(
    'ring_link_unidentified_pairs',
    'Token pairs of which Ring has not told us the account yet, so that no user can be matched with them.',
  );
  const unidentifiedAge = gauge(
    'ring_link_unidentified_oldest_age_seconds',
    'How long the oldest token pair has waited for Ring to tell us its account.',
  );
  const confirming = gauge(
    'ring_link_confirming_links',
    'Links that are claimed and not confirmed with Ring yet. In waiting=user Ring was away for longer than a nonce lives: only a tap on Sign In helps.',
    'waiting',
  );
  const confirmingAge = gauge(
    'ring_link_confirming_oldest_age_seconds',
    'How long ago the oldest of these links was claimed.',
    'waiting',
  );
  const inbox = gauge(
    'ring_link_webhook_backlog_events',
    'Stored events that are not applied yet. Those of accounts that are not linked wait for the link, and are no delay.',
    'account',
  );
  const inboxAge = gauge(
    'ring_link_webhook_backlog_oldest_age_seconds',
    'How long ago the oldest of these events was stored.',
    'account',
  );
  const failed = gauge(
    'ring_link_webhook_failed_events',
    'Events that were given up after twelve attempts, until an operator has them run again.',
  );
  const exemption = gauge(
    'ring_link_subscription_exemption_age_seconds',
    'How long the user who has been exempt for longest has passed without a subscription; 0 when nobody is exempt.',
  );
  const liveViews = gauge('ring_link_live_views', 'Live views that are opening or open.', 'status');

  return {
    name: 'backlog',
    registry,
    async read(client, now) {
      // Two statements in one, because a partial index serves only a query that is known to fit it.
      const { rows: pool } = await client.query<Waiting>(
        sql`SELECT 'UNCLAIMED' AS label, count(*)::int AS count, ${secondsSince(sql`min(created_at)`, now)} AS age
              FROM ring_tokens WHERE status = 'UNCLAIMED'
            UNION ALL
            SELECT 'RECEIVED', count(*)::int, ${secondsSince(sql`min(created_at)`, now)}
              FROM ring_tokens WHERE status = 'RECEIVED'`.numbered,
      );
      const { rows: links } = await client.query<Waiting>(
        sql`SELECT CASE WHEN link.last_error = ${NONCE_TOO_OLD} THEN 'user' ELSE 'ring' END AS label,
                   count(*)::int AS count, ${secondsSince(sql`min(token.claimed_at)`, now)} AS age
              FROM account_links link JOIN ring_tokens token ON token.id = link.token_id
             WHERE link.status = 'CONFIRMING' GROUP BY 1`.numbered,
      );
      // LATERAL looks up the few accounts with a backlog, where a plain join would walk all links.
      const { rows: events } = await client.query<Waiting>(
        sql`SELECT CASE WHEN link.found IS NULL THEN 'unlinked' ELSE 'linked' END AS label,
                   sum(event.count)::int AS count, ${secondsSince(sql`min(event.oldest)`, now)} AS age
              FROM (SELECT account_id, count(*) AS count, min(received_at) AS oldest
                      FROM webhook_events WHERE status = 'PENDING' GROUP BY account_id) event
              LEFT JOIN LATERAL (SELECT true AS found FROM account_links
                                  WHERE account_id = event.account_id AND ${isApplied()}
                                  LIMIT 1) link ON true
             GROUP BY 1`.numbered,
      );
      const { rows: failedEvents } = await client.query<Count>(
        sql`SELECT 'all' AS label, count(*)::int AS count FROM webhook_events WHERE status = 'FAILED'`.numbered,
      );
      const { rows: exempt } = await client.query<Waiting>(
        sql`SELECT 'all' AS label, count(*)::int AS count, ${secondsSince(sql`min(exempt_since)`, now)} AS age
              FROM users WHERE exempt_since IS NOT NULL`.numbered,
      );
      const { rows: views } = await client.query<Count>(
        sql`SELECT status AS label, count(*)::int AS count FROM live_views WHERE status <> 'ENDED' GROUP BY 1`.numbered,
      );

      unclaimed.set(countOf(pool, 'UNCLAIMED'));
      unclaimedAge.set(ageOf(pool, 'UNCLAIMED'));
      unidentified.set(countOf(pool, 'RECEIVED'));
      unidentifiedAge.set(ageOf(pool, 'RECEIVED'));
      for (const waiting of ['ring', 'user']) {
        confirming.set({ waiting }, countOf(links, waiting));
        confirmingAge.set({ waiting }, ageOf(links, waiting));
      }
      for (const account of ['linked', 'unlinked']) {
        inbox.set({ account }, countOf(events, account));
        inboxAge.set({ account }, ageOf(events, account));
      }
      failed.set(countOf(failedEvents, 'all'));
      exemption.set(ageOf(exempt, 'all'));
      for (const value of ['OPENING', 'OPEN']) liveViews.set({ status: value }, countOf(views, value));
    },
  };
}
