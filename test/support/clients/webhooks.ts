import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { HMAC_KEY } from '../worlds/world.js';

export const PATH = '/webhooks/ring';

export interface Envelope {
  meta: { version: string; time: string; request_id: string; account_id: string };
  data: { id: string; type: string; attributes: Record<string, unknown>; [member: string]: unknown };
}

/** An event as Ring would send it. Unless told otherwise, a button press at a device of an unknown account. */
export function newEvent({
  accountId = `ava1.ring.account.${randomUUID()}`,
  deviceId = 'device-1',
  type = 'button_press',
  requestId = randomUUID(),
  timestamp = Date.now(),
}: {
  accountId?: string;
  deviceId?: string;
  type?: string;
  requestId?: string;
  /** The time of the event, epoch ms. */
  timestamp?: number;
} = {}): Envelope {
  return {
    meta: { version: '1.1', time: new Date().toISOString(), request_id: requestId, account_id: accountId },
    data: {
      id: `event-${randomUUID()}`,
      type,
      attributes: { source: deviceId, source_type: 'devices', timestamp },
      relationships: { devices: { links: { self: `/v1/devices/${deviceId}` } } },
    },
  };
}

/** `X-Signature` by Ring's documentation: "sha256=" and the hex HMAC-SHA256 of the raw body. */
export function sign(body: string | Buffer, key = HMAC_KEY): string {
  return `sha256=${createHmac('sha256', Buffer.from(key, 'utf8')).update(body).digest('hex')}`;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export interface Post {
  body: string | Buffer;
  /** A list repeats the header; undefined leaves it out. */
  headers?: Record<string, string | string[] | undefined>;
  method?: string;
  /** For connections that are kept. By default each request has a connection of its own. */
  agent?: Agent;
}

/** Sends exactly these bytes with exactly these headers to the receiver. */
export async function post(origin: string, { body, headers = {}, method = 'POST', agent }: Post): Promise<Answer> {
  const given = Object.entries(headers).filter(
    (header): header is [string, string | string[]] => header[1] !== undefined,
  );
  const sent = request(origin + PATH, {
    method,
    // An agent for one request closes its connection afterwards.
    agent: agent ?? new Agent(),
    headers: { 'content-length': Buffer.byteLength(body), ...Object.fromEntries(given) },
  });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() };
}

/** Delivers a body as Ring does. */
export function deliver(
  origin: string,
  body: string | Buffer,
  { key = HMAC_KEY, agent }: { key?: string; agent?: Agent } = {},
): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'x-signature': sign(body, key) };
  return post(origin, { body, headers, ...(agent && { agent }) });
}
