import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { readDatabaseUrl } from '../configuration/database-url.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { within } from '../time/within.js';
import { EVENTS_CHANNEL } from './record-events.js';

/** Tells of events as they are recorded, by any instance. */
export interface EventFeed {
  /**
   * @param onNews is called when the user's list of events may have changed, also after Postgres was away
   * @returns ends the subscription
   */
  subscribe(userId: string, onNews: () => void): () => void;
  stop(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 4_000;
/** A connection can die without a word. LISTEN alone would not notice, so it is checked. */
const CHECK_INTERVAL_MS = 10_000;
const CHECK_TIMEOUT_MS = 4_000;
const MAX_PAUSE_MS = 30_000;
/** Pages that have missed something ask for it spread over this time, for Postgres is just coming back. */
const SPREAD_MS = 2_000;

/** Listens on one connection of its own, however many subscribe, and again whenever that was lost. */
export function startEventFeed(databaseUrl: string, log: Logger): EventFeed {
  const subscribers = new Map<string, Set<() => void>>();
  const stopping = new AbortController();

  function tell(userId: string): void {
    for (const onNews of subscribers.get(userId) ?? []) onNews();
  }

  function tellAll(): void {
    for (const userId of subscribers.keys()) {
      setTimeout(() => {
        tell(userId);
      }, Math.random() * SPREAD_MS).unref();
    }
  }

  async function keepListening(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        await listen(databaseUrl, stopping.signal, tell, () => {
          failures = 0;
          tellAll();
        });
      } catch (error) {
        log.warn({ err: error }, 'the feed of events lost its connection; connecting again');
      }
      failures += 1;
      await delay(retryPauseMs(failures, MAX_PAUSE_MS), undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  const listening = keepListening();
  return {
    subscribe(userId, onNews) {
      const ofUser = subscribers.get(userId) ?? new Set();
      subscribers.set(userId, ofUser.add(onNews));
      return () => {
        ofUser.delete(onNews);
        if (ofUser.size === 0 && subscribers.get(userId) === ofUser) subscribers.delete(userId);
      };
    },
    async stop() {
      stopping.abort();
      await listening;
    },
  };
}

/** Listens until told to stop. @throws when the connection can't be made, or is lost */
async function listen(
  databaseUrl: string,
  stopping: AbortSignal,
  tell: (userId: string) => void,
  onListening: () => void,
): Promise<void> {
  const client = new pg.Client({
    ...readDatabaseUrl(databaseUrl),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CHECK_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'ring-account-linking events',
  });
  const lost = new AbortController();
  client.on('error', (error) => {
    lost.abort(error);
  });
  client.on('end', () => {
    lost.abort(new Error('Postgres ended the connection'));
  });
  client.on('notification', ({ payload }) => {
    if (payload !== undefined) tell(payload);
  });
  try {
    await client.connect();
    await client.query(`LISTEN ${EVENTS_CHANNEL}`);
    onListening();
    const ended = AbortSignal.any([stopping, lost.signal]);
    for (;;) {
      await delay(CHECK_INTERVAL_MS, undefined, { signal: ended }).catch(() => undefined);
      if (stopping.aborted) return;
      lost.signal.throwIfAborted();
      await client.query('SELECT 1');
    }
  } finally {
    // A server that is out of reach never answers the goodbye.
    await within(1_000, client.end());
  }
}
