import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRingClient, type RingClient, type RingClientOptions } from '../../../src/ring/client.js';
import { RingError } from '../../../src/ring/errors.js';

export const ACCESS_TOKEN = 'at-77b1';
export const CLIENT_SECRET = 'client-secret-3f09';

/** A request as a stand-in has received it. */
export interface Received {
  method: string | undefined;
  path: string | undefined;
  headers: IncomingHttpHeaders;
  body: string;
}

const servers: Server[] = [];

/** Closes the stand-ins of a test. */
export function closeStandIns(): void {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
}

/** A server in Ring's place. The simulator plays Ring; this one answers what Ring never documented. */
export async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Gives every request the same answer, and keeps the requests. */
export async function listenAndAnswer(
  status: number,
  body: string | Buffer,
  headers: Record<string, string> = { 'content-type': 'application/json' },
): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const url = await listen((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url: path, headers: sent } = request;
      received.push({ method, path, headers: sent, body: Buffer.concat(chunks).toString() });
      response.writeHead(status, headers).end(body);
    });
  });
  return { url, received };
}

/** A client of a stand-in. */
export function clientOf(url: string, options: Partial<RingClientOptions> = {}): RingClient {
  return createRingClient({
    oauthUrl: url,
    apiUrl: url,
    clientId: 'client-1',
    clientSecret: CLIENT_SECRET,
    ...options,
  });
}

/** The error of a call that must fail. */
export async function failureOf(call: Promise<unknown>): Promise<RingError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof RingError)) throw new Error(`expected a RingError, got ${String(error)}`);
  return error;
}
