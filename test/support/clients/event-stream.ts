import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { until } from '../waiting/until.js';

/** A stream of server-sent events, as a page receives it. */
export interface EventStream {
  status: number;
  headers: IncomingHttpHeaders;
  /** The text that came so far. */
  text: () => string;
  /** The number of messages that there is news. */
  news: () => number;
  /** The number of heartbeats, which say nothing. */
  heartbeats: () => number;
  /** Waits until there are more messages of news than `before`. */
  untilNews: (before: number) => Promise<void>;
  hasEnded: () => boolean;
  /** True if the stream was ended in order, and not cut off. */
  isWhole: () => boolean;
  untilEnded: () => Promise<void>;
  close: () => void;
}

/** Opens a stream, and waits for the head of the answer only. */
export async function openStream(
  origin: string,
  cookie: string,
  headers: Record<string, string> = {},
): Promise<EventStream> {
  const sent = request(`${origin}/events/stream`, {
    agent: false,
    headers: { ...headers, cookie, accept: 'text/event-stream' },
  });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  let hasEnded = false;
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => (text += chunk));
  response.on('error', () => undefined);
  response.on('close', () => (hasEnded = true));
  const news = () => text.split('data: news\n\n').length - 1;
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: () => text,
    news,
    heartbeats: () => text.split('\n').filter((line) => line.startsWith(':')).length,
    async untilNews(before) {
      await until('the stream tells news', () => Promise.resolve(news() > before));
    },
    hasEnded: () => hasEnded,
    isWhole: () => response.complete,
    async untilEnded() {
      await until('the stream ends', () => Promise.resolve(hasEnded));
    },
    close: () => sent.destroy(),
  };
}
