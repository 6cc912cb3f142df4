import { setTimeout as delay } from 'node:timers/promises';
import { type Request, type Response, Router } from 'express';
import type { Core } from '../core.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { networkOf } from '../http/networks.js';
import { createPlaces, type FullBound, type PlaceBounds } from '../http/places.js';
import { signedInOrRefused, userIdOf } from '../users/current-user.js';
import type { EventFeed } from './event-feed.js';

export interface EventStreamSettings extends PlaceBounds {
  /** Proxies hang up on a connection that is silent for a minute. A stream whose session has ended ends at the next beat. */
  heartbeatMs: number;
  /** The most time that a stream is open. The browser then opens another one, at an instance that has room for it. */
  lifetimeMs: number;
}

/** One user has a stream for each visible page. */
export const STREAM_PLACES: PlaceBounds = { ofUser: 6, ofNetwork: 400, ofProcess: 2_000 };
const STANDARD: EventStreamSettings = { ...STREAM_PLACES, heartbeatMs: 20_000, lifetimeMs: 60 * 60_000 };

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
  sessionId: string;
  /** By the clock of `performance`. */
  endsAt: number;
  response: Response;
}

/** News says nothing but "look again": a page that asks late learns more than the stream could have told it. */
const NEWS = 'data: news\n\n';
const HEARTBEAT = ':\n\n';

/** More bytes than this are unsent only when the network has taken nothing for long. */
const MOST_UNSENT = 1_024;
const LATER = { retryAfterSeconds: 30 };

/**
 * `GET /events/stream`, server-sent events for the pages of signed-in users: an event says that the list of events may have
 * changed, and the page asks for the list itself.
 */
export function eventStreams({ feed, standing, log, settings }: EventStreamDependencies): EventStreams {
  const { heartbeatMs, lifetimeMs, ...bounds } = { ...STANDARD, ...settings };
  const places = createPlaces(bounds);
  const open = new Set<Stream>();
  const closing = new AbortController();

  /** @returns gives the place back. @throws {HttpError} 429, 503 */
  function takePlace(request: Request): () => void {
    if (closing.signal.aborted) throw new HttpError(503, 'This instance is stopping. Connect again.', LATER);
    const leave = places.take(userIdOf(request), networkOf(request.ip));
    if (typeof leave !== 'string') return leave;
    if (leave === 'ofProcess') log.warn({ streams: open.size }, 'no more streams of events are opened');
    throw noPlace(leave);
  }

  const router = Router();
  const route = router.route('/events/stream');
  route.get(signedInOrRefused, (request: Request, response: Response) => {
    // A browser that left while its session was looked up would never have its stream closed.
    if (response.closed) return;
    const leave = takePlace(request);
    response.once('close', leave);
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
    // Their lives differ, so that those which began together do not all come back together.
    const endsAt = performance.now() + lifetimeMs * (0.5 + Math.random() / 2);
    const stream = { sessionId: request.sessionID, endsAt, response };
    open.add(stream);
    const unsubscribe = feed.subscribe(
      userIdOf(request),
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
    const now = performance.now();
    for (const stream of streams) {
      if (stand.has(stream.sessionId) && now < stream.endsAt) send(stream, HEARTBEAT);
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

function noPlace(full: FullBound): HttpError {
  switch (full) {
    case 'ofUser':
      return new HttpError(429, 'You have too many pages open. Close some of them.', LATER);
    case 'ofNetwork':
    case 'ofProcess':
      return new HttpError(503, 'Too many pages are open. Please reload the page to see what is new.', LATER);
  }
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
