import { setTimeout as delay } from 'node:timers/promises';
import { type Request, type Response, Router } from 'express';
import type { Core } from '../core.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { signedInOrRefused, userIdOf } from '../users/current-user.js';
import type { EventFeed } from './event-feed.js';

export interface EventStreamSettings {
  /** How many one user may have open in this process: one for each visible page. */
  ofUser: number;
  /** How many this process holds open for all users. */
  ofProcess: number;
  /** Proxies hang up on a connection that is silent for a minute. A stream whose session has ended ends at the next beat. */
  heartbeatMs: number;
}

const STANDARD: EventStreamSettings = { ofUser: 6, ofProcess: 2_000, heartbeatMs: 20_000 };

export interface EventStreamDependencies extends Pick<Core, 'log'> {
  feed: Pick<EventFeed, 'subscribe'>;
  /** Tells which of these sessions stand. */
  standing: (sessionIds: string[]) => Promise<Set<string>>;
  settings?: Partial<EventStreamSettings>;
}

export interface EventStreams {
  router: Router;
  /** Ends all streams, which never end by themselves, and opens no more. */
  close: () => void;
}

interface Stream {
  userId: string;
  sessionId: string;
  response: Response;
}

/** News says nothing but "look again": a page that asks late learns more than the stream could have told it. */
const NEWS = 'data: news\n\n';
const HEARTBEAT = ':\n\n';

/** More bytes than this are unsent only when the network has taken nothing for long. */
const MOST_UNSENT = 1_024;
const RETRY_AFTER_SECONDS = 30;

/**
 * `GET /events/stream`, server-sent events for the pages of signed-in users: an event says that the list of events may have
 * changed, and the page asks for the list itself.
 */
export function eventStreams({ feed, standing, log, settings }: EventStreamDependencies): EventStreams {
  const { ofUser, ofProcess, heartbeatMs } = { ...STANDARD, ...settings };
  const open = new Set<Stream>();
  const closing = new AbortController();

  /** @throws {HttpError} 429, 503 */
  function requireRoom(userId: string): void {
    const later = { retryAfterSeconds: RETRY_AFTER_SECONDS };
    if (closing.signal.aborted) throw new HttpError(503, 'This instance is stopping. Connect again.', later);
    if (open.size >= ofProcess) {
      log.warn({ streams: open.size }, 'no more streams of events are opened');
      throw new HttpError(503, 'Too many pages are open. Please reload the page to see what is new.', later);
    }
    if ([...open].filter((stream) => stream.userId === userId).length >= ofUser) {
      throw new HttpError(429, 'You have too many pages open. Close some of them.', later);
    }
  }

  const router = Router();
  const route = router.route('/events/stream');
  route.get(signedInOrRefused, (request: Request, response: Response) => {
    // A browser that left while its session was looked up would never have its stream closed.
    if (response.closed) return;
    const userId = userIdOf(request);
    requireRoom(userId);
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store, no-transform',
      // Asks nginx to pass on each event at once.
      'X-Accel-Buffering': 'no',
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    const stream = { userId, sessionId: request.sessionID, response };
    open.add(stream);
    const unsubscribe = feed.subscribe(
      userId,
      oncePerTurn(() => {
        send(stream, NEWS);
      }),
    );
    response.once('close', () => {
      open.delete(stream);
      unsubscribe();
    });
    // The pauses differ, so that the pages of an instance that stops do not all come back at once. The first news is for
    // events between the page and its stream.
    send(stream, `retry: ${Math.round(1_000 + Math.random() * 4_000)}\n${NEWS}`);
  });
  route.all(methodNotAllowed('GET', 'HEAD'));
  router.use('/events/stream', problemDetails);

  /** Asks about the sessions of all streams at once. Without an answer all stay open: no one can sign out then, either. */
  async function beat(): Promise<void> {
    const streams = [...open];
    if (streams.length === 0) return;
    const sessionIds = streams.map(({ sessionId }) => sessionId);
    const stand = await standing(sessionIds).catch((error: unknown) => {
      log.debug({ err: error }, 'the sessions of streams could not be looked up');
      return new Set(sessionIds);
    });
    for (const stream of streams) {
      if (stand.has(stream.sessionId)) send(stream, HEARTBEAT);
      else end(stream);
    }
  }

  async function keepBeating(): Promise<void> {
    try {
      for (;;) {
        await delay(heartbeatMs, undefined, { signal: closing.signal, ref: false });
        await beat();
      }
    } catch {
      // Closed.
    }
  }

  void keepBeating();
  return {
    router,
    close() {
      closing.abort();
      for (const stream of open) end(stream);
    },
  };
}

/** Joins all that Postgres tells at one go into one piece of news: hundreds would fill up the response at once. */
function oncePerTurn(act: () => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setImmediate(() => {
      isDue = false;
      act();
    });
  };
}

function send({ response }: Stream, text: string): void {
  if (response.writableEnded || response.destroyed) return;
  // News would pile up here for a browser that does not read.
  if (response.writableLength > MOST_UNSENT) response.destroy();
  else response.write(text);
}

function end({ response }: Stream): void {
  if (response.writableLength > MOST_UNSENT) response.destroy();
  else response.end();
}
