import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from '@jest/globals';
import type { SimulatorOptions } from '../../src/simulator/simulator.js';
import { startSimulator } from '../../src/simulator/simulator.js';
import type { Delivery, SentEvent } from '../support/worlds/ring.js';

export const CLIENT_ID = 'client-for-tests';
export const CLIENT_SECRET = 'client-secret-for-tests';
export const HMAC_KEY = 'hmac-key-for-tests';

export interface ReceivedCallback {
  method: string | undefined;
  url: string | undefined;
  contentType: string | undefined;
  body: string;
}

export interface ReceivedWebhook {
  contentType: string | undefined;
  signature: string | undefined;
  body: string;
}

/** A partner app with a callback and a webhook only. It keeps the requests and answers with a status. */
export interface TinyApp {
  url: string;
  /** The requests to the callback. */
  received: ReceivedCallback[];
  status: number;
  webhooks: ReceivedWebhook[];
  /** The statuses of the answers to webhooks, in turn; the last one stays. Null is no answer. */
  webhookStatuses: (number | null)[];
  close(): Promise<void>;
}

export async function startTinyApp(): Promise<TinyApp> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      if (request.url === '/webhooks/ring') {
        const { 'content-type': contentType, 'x-signature': signature } = request.headers;
        app.webhooks.push({ contentType, signature: signature?.toString(), body });
        const [status = 200, ...later] = app.webhookStatuses;
        if (later.length > 0) app.webhookStatuses = later;
        if (status !== null) response.writeHead(status).end();
        return;
      }
      app.received.push({
        method: request.method,
        url: request.url,
        contentType: request.headers['content-type'],
        body,
      });
      response.writeHead(app.status).end(`<b>answer ${app.received.length}</b>`);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const app: TinyApp = {
    url: `http://127.0.0.1:${port}`,
    received: [],
    status: 200,
    webhooks: [],
    webhookStatuses: [200],
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return app;
}

/** A simulator with a clock that stands still, and its log. */
export interface Rig {
  url: string;
  app: TinyApp;
  lines: string[];
  /** epoch ms */
  clock: { now: number };
  close(): Promise<void>;
}

export async function startRig(options: Partial<SimulatorOptions> = {}): Promise<Rig> {
  const app = await startTinyApp();
  const lines: string[] = [];
  const clock = { now: 1_790_000_000_000 };
  const simulator = await startSimulator({
    port: 0,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    hmacKey: HMAC_KEY,
    app: { publicUrl: 'https://app.example.com/', internalUrl: app.url },
    now: () => clock.now,
    log: (line) => lines.push(line),
    ...options,
  });
  return {
    url: simulator.url,
    app,
    lines,
    clock,
    close: async () => {
      await simulator.close();
      await app.close();
    },
  };
}

/** Sends a request to the control API, and expects a success. */
export async function control<Answer>(
  rig: { url: string },
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(`${rig.url}/control${path}`, {
    method,
    ...(body !== undefined && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (response.status === 204 ? undefined : await response.json()) as Answer;
}

export interface TokenBody {
  access_token: string;
  refresh_token: string;
  scope: string;
  expires_in: number;
  token_type: string;
}

export const CLIENT = { client_id: CLIENT_ID, client_secret: CLIENT_SECRET };

export function requestToken(rig: Rig, fields: Record<string, string>): Promise<Response> {
  return fetch(`${rig.url}/oauth/token`, { method: 'POST', body: new URLSearchParams(fields) });
}

export function exchangeCode(rig: Rig, code: string): Promise<Response> {
  return requestToken(rig, { grant_type: 'authorization_code', code, ...CLIENT });
}

export function refresh(rig: Rig, refresh_token: string): Promise<Response> {
  return requestToken(rig, { grant_type: 'refresh_token', refresh_token, ...CLIENT });
}

export async function newCode(rig: Rig, user_id = 'ada'): Promise<string> {
  const { code } = await control<{ code: string }>(rig, 'POST', '/codes', { user_id });
  return code;
}

export async function newTokens(rig: Rig, user_id = 'ada'): Promise<TokenBody> {
  return (await (await exchangeCode(rig, await newCode(rig, user_id))).json()) as TokenBody;
}

export async function newNonce(rig: Rig, user_id = 'ada'): Promise<string> {
  const { nonce } = await control<{ nonce: string }>(rig, 'GET', `/link-url?user_id=${user_id}`);
  return nonce;
}

export function getMe(rig: Rig, token: string): Promise<Response> {
  return fetch(`${rig.url}/v1/users/me`, { headers: { Authorization: `Bearer ${token}` } });
}

/** Calls Ring's API with a token. */
export function callRing(rig: Rig, method: string, path: string, token: string, init: RequestInit = {}) {
  return fetch(`${rig.url}${path}`, {
    method,
    redirect: 'manual',
    ...init,
    headers: { Authorization: `Bearer ${token}`, ...(init.headers as Record<string, string> | undefined) },
  });
}

export function sendEvent(rig: Rig, type: string, more: object = {}): Promise<SentEvent> {
  return control<SentEvent>(rig, 'POST', '/events', { user_id: 'ada', type, ...more });
}

export function deliveries(rig: Rig): Promise<Delivery[]> {
  return control<Delivery[]>(rig, 'GET', '/deliveries');
}

export function callIntegrations(rig: Rig, method: 'POST' | 'PATCH', token: string, body?: unknown): Promise<Response> {
  return fetch(`${rig.url}/v1/accounts/me/app-integrations`, {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

export async function errorTitle(response: Response): Promise<string | undefined> {
  const { errors } = (await response.json()) as { errors: { status: string; title: string; detail: string }[] };
  return errors[0]?.title;
}

/** Status, code and pointer of a media error. Expects it to have no title. */
export async function mediaError(response: Response): Promise<[number, string, string | undefined]> {
  interface MediaError {
    status: string;
    title?: string;
    code: string;
    source?: { pointer: string };
  }
  const { errors } = (await response.json()) as { errors: [MediaError] };
  expect(errors).toHaveLength(1);
  expect(errors[0]).not.toHaveProperty('title');
  expect(errors[0].status).toBe(String(response.status));
  return [response.status, errors[0].code, errors[0].source?.pointer];
}

export async function oauthError(response: Response): Promise<string> {
  return ((await response.json()) as { error: string }).error;
}

export interface RequestRecord {
  method: string;
  path: string;
  at: number;
  account_id: string | null;
  status: number | null;
  effect_status: number | null;
  fault: string | null;
  grant_type?: string;
  account_identifier?: string;
  requested_status?: string;
  device_id?: string;
  authorization?: string;
  asked?: string;
}

export function recordedRequests(rig: Rig): Promise<RequestRecord[]> {
  return control<RequestRecord[]>(rig, 'GET', '/requests');
}
