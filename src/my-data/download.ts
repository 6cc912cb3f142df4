import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Pool, PoolClient } from 'pg';
import { type Sql, sql } from '../database/sql.js';
import type { Network } from '../http/networks.js';
import { createPlaces, type PlaceBounds } from '../http/places.js';
import { USER_OF_EVENT } from '../inbox/user-of-event.js';
import { isLive } from '../ring-accounts/link-conditions.js';

/** One list in the file. */
interface Section {
  name: string;
  /** Selects one JSON object a row, in a column named `line`. */
  query: Sql;
  rowsAtOnce: number;
}

const ROWS_AT_ONCE = 200;

/** SQL: the Ring accounts that are the user's now. What came through links that have ended is erased. */
const ownAccounts = (userId: string): Sql =>
  sql`SELECT account_id FROM account_links WHERE user_id = ${userId} AND ${isLive()}`;

/**
 * The lists of the file, in their order. Secrets that tell nothing about the user are left out: the password's hash, tokens,
 * nonces and the IDs of sessions.
 */
const sectionsOf = (userId: string): readonly Section[] => [
  {
    name: 'links',
    query: sql`
      SELECT jsonb_build_object(
               'id', link.id, 'account_id', link.account_id, 'status', link.status,
               'account_identifier', link.account_identifier, 'last_error', link.last_error,
               'created_at', link.created_at, 'updated_at', link.updated_at, 'completed_at', link.completed_at,
               'ring_confirmed_at', link.ring_confirmed_at,
               'subscriptions_answered_at', link.subscriptions_answered_at, 'removed_at', link.removed_at,
               'access', jsonb_build_object(
                 'status', token.status, 'scope', token.scope, 'created_at', token.created_at,
                 'claimed_at', token.claimed_at, 'refreshed_at', token.refreshed_at,
                 'access_token_expires_at', token.access_token_expires_at)) AS line
        FROM account_links AS link JOIN ring_tokens AS token ON token.id = link.token_id
       WHERE link.user_id = ${userId} ORDER BY link.created_at, link.id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'devices',
    query: sql`SELECT to_jsonb(device) AS line FROM devices AS device
                WHERE account_id IN (${ownAccounts(userId)}) ORDER BY account_id, id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'device_events',
    query: sql`SELECT to_jsonb(event) AS line FROM device_events AS event
                WHERE account_id IN (${ownAccounts(userId)}) ORDER BY occurred_at, request_id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'device_histories',
    // Without the address at Ring where the reading goes on.
    query: sql`SELECT to_jsonb(history) - 'next_page' AS line FROM device_histories AS history
                WHERE account_id IN (${ownAccounts(userId)}) ORDER BY account_id, device_id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'live_views',
    query: sql`SELECT to_jsonb(view) - '{user_id,session_path}'::text[] AS line FROM live_views AS view
                WHERE user_id = ${userId} ORDER BY started_at, id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'scheduled_operations',
    query: sql`SELECT to_jsonb(operation) - 'user_id' AS line FROM scheduled_operations AS operation
                WHERE user_id = ${userId} ORDER BY created_at, id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'picture_requests',
    query: sql`SELECT to_jsonb(request) AS line FROM picture_requests AS request
                WHERE account_id IN (${ownAccounts(userId)}) ORDER BY asked_at, id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'snapshots',
    query: sql`
      SELECT jsonb_build_object(
               'id', id, 'account_id', account_id, 'device_id', device_id, 'taken_at', taken_at,
               'stored_at', stored_at, 'content_type', content_type,
               'picture_base64', translate(encode(picture, 'base64'), E'\\n', '')) AS line
        FROM (SELECT * FROM snapshots WHERE account_id IN (${ownAccounts(userId)}) ORDER BY taken_at, id OFFSET 0) AS sorted`,
    // A picture may have 5 MB. The fence OFFSET 0 has the rows sorted before any picture is read, and they are read singly.
    rowsAtOnce: 1,
  },
  {
    name: 'subscriptions',
    query: sql`SELECT to_jsonb(subscription) AS line FROM subscriptions AS subscription
                WHERE account_id IN (${ownAccounts(userId)}) ORDER BY account_id, id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'webhook_events',
    query: sql`
      SELECT jsonb_build_object(
               'request_id', request_id, 'account_id', account_id, 'device_id', device_id, 'type', type,
               'status', status, 'occurred_at', occurred_at, 'received_at', received_at,
               'processed_at', processed_at, 'body', body) AS line
        FROM webhook_events AS event
       WHERE account_id IN (SELECT account_id FROM account_links WHERE user_id = ${userId}) AND (${USER_OF_EVENT}) = ${userId}
       ORDER BY event.id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'archived_removals',
    query: sql`SELECT to_jsonb(archived) - 'user_id' AS line FROM audit_archive AS archived
                WHERE user_id = ${userId} ORDER BY archived_at, id`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
  {
    name: 'sessions',
    query: sql`SELECT jsonb_build_object('expires_at', expire) AS line
                 FROM sessions WHERE sess #>> '{passport,user}' = ${userId} ORDER BY expire`,
    rowsAtOnce: ROWS_AT_ONCE,
  },
];

/** Enough for some 50 MB over a slow connection. Until then a connection to the database is taken. */
const LIMIT_MS = 5 * 60_000;
/** The most downloads at once. Jobs and the matching of links share the pool, and come first. */
export const DOWNLOAD_PLACES: PlaceBounds = { ofUser: 1, ofNetwork: 4, ofProcess: 6 };

/**
 * - `under-way`: the user has another download.
 * - `busy`: too many users have one, here or behind the same address.
 * - `deleted`: there is no such user any more.
 */
export type Download = 'sent' | 'under-way' | 'busy' | 'deleted';

export interface Downloads {
  /**
   * Answers with everything that we hold about a user as one JSON object: `downloaded_at`, `account` (`id`, `email`,
   * `created_at`, and `exempt_since`: since when no subscription is asked of them), and a list for each kind of thing, whose
   * members are named as the columns of our tables are:
   *
   * | | |
   * |---|---|
   * | `links` | each Ring account ever linked: status, times, the name that Ring was told, and since when and until when we have access |
   * | `devices` | as Ring has described them, also the names of removed ones |
   * | `device_events` | what devices have told: motion, presses, comings and goings |
   * | `device_histories` | of which time events may be missing, and why |
   * | `live_views`, `scheduled_operations` | |
   * | `picture_requests` | that pictures were asked for, and what came of it |
   * | `snapshots` | with the picture itself in `picture_base64` |
   * | `subscriptions` | as Ring has described them |
   * | `webhook_events` | what Ring has sent, of the last 7 days; `body` is Ring's text, null once it is erased |
   * | `archived_removals` | what is kept of devices and links that were removed |
   * | `sessions` | until when a browser is signed in |
   *
   * All of it is as of one moment. It is read piece by piece, so that little of it is in memory at once.
   *
   * @returns `sent` once all is sent. With every other outcome the response is untouched, for the caller to answer
   * @throws an error that may come after the first byte: the caller breaks the response off then, so that an incomplete
   *   file is not taken for a whole one
   */
  send(userId: string, network: Network, response: ServerResponse): Promise<Download>;
}

export function createDownloads(pool: Pool, now: () => Date): Downloads {
  const places = createPlaces(DOWNLOAD_PLACES);
  return {
    async send(userId, network, response) {
      const leave = places.take(userId, network);
      if (typeof leave === 'string') return leave === 'ofUser' ? 'under-way' : 'busy';
      try {
        const hasUser = await inSnapshot(pool, async (client) => {
          const account = await readAccount(client, userId);
          if (account === undefined) return false;
          response.setHeader('Content-Type', 'application/json');
          response.setHeader('Content-Disposition', 'attachment; filename="my-data.json"');
          const file = writeFile(client, userId, account, now());
          await pipeline(Readable.from(file), response, { signal: AbortSignal.timeout(LIMIT_MS), end: false });
          return true;
        });
        if (!hasUser) return 'deleted';
      } finally {
        leave();
      }
      // The end is sent last, because a client that has seen it may ask again.
      response.end();
      return 'sent';
    },
  };
}

/** Runs `read` in a transaction whose statements all see the database as of one moment. */
async function inSnapshot<Result>(pool: Pool, read: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect();
  let isDone = false;
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    // While a slow reader takes what was read last, the transaction is idle.
    await client.query(`SET LOCAL idle_in_transaction_session_timeout = ${LIMIT_MS}`);
    const result = await read(client);
    await client.query('COMMIT');
    isDone = true;
    return result;
  } finally {
    client.release(!isDone);
  }
}

async function readAccount(client: PoolClient, userId: string): Promise<string | undefined> {
  const { rows } = await client.query<{ account: string }>(
    sql`SELECT jsonb_build_object('id', id, 'email', email, 'created_at', created_at,
                                  'exempt_since', exempt_since)::text AS account
          FROM users WHERE id = ${userId}`.numbered,
  );
  return rows[0]?.account;
}

async function* writeFile(
  client: PoolClient,
  userId: string,
  account: string,
  now: Date,
): AsyncGenerator<string, void, undefined> {
  yield `{\n"downloaded_at": "${now.toISOString()}",\n"account": ${account}`;
  for (const section of sectionsOf(userId)) {
    yield `,\n"${section.name}": [`;
    let separator = '\n';
    for await (const lines of readSection(client, section)) {
      yield separator + lines.join(',\n');
      separator = ',\n';
    }
    yield '\n]';
  }
  yield '\n}\n';
}

/**
 * Reads a section by FETCH, because each FETCH is a statement with a time limit of its own. A cursor of the driver would be
 * one statement altogether.
 */
async function* readSection(
  client: PoolClient,
  { query, rowsAtOnce }: Section,
): AsyncGenerator<string[], void, undefined> {
  await client.query(sql`DECLARE section NO SCROLL CURSOR FOR SELECT line::text FROM (${query}) AS read`.numbered);
  for (;;) {
    const { rows } = await client.query<{ line: string }>(`FETCH ${rowsAtOnce} FROM section`);
    if (rows.length > 0) yield rows.map(({ line }) => line);
    if (rows.length < rowsAtOnce) break;
  }
  await client.query('CLOSE section');
}
