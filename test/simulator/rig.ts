import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:http';

import type { SimulatorOptions } from '../../src/simulator/simulator.js';
import { startSimulator } from '../../src/simulator/simulator.js';

export const CLIENT_ID = 'client-for-tests';
export const CLIENT_SECRET = 'client-secret-for-tests';
export const HMAC_KEY = 'hmac-key-for-tests';

export interface ReceivedCallback {
  method: string | undefined;
  url: string | undefined;
  contentType: string | undefined;
  body: string;
}

/** A partner app that is nothing but a callback: it keeps what it receives and answers with `status`. */
export interface TinyApp {
  url: string;
  received: ReceivedCallback[];
  status: number;
  close(): Promise<void>;
}

export async function startTinyApp(): Promise<TinyApp> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      app.received.push({
        method: request.method,
        url: request.url,
        contentType: request.headers['content-type'],
        body: Buffer.concat(chunks).toString(),
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
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return app;
}

/** A simulator with a clock that stands still, and with what it logged. */
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

/** Asks the control API, and expects it to agree. */
export async function control<Answer>(rig: Rig, method: string, path: string, body?: unknown): Promise<Answer> {
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
}

export function recordedRequests(rig: Rig): Promise<RequestRecord[]> {
  return control<RequestRecord[]>(rig, 'GET', '/requests');
}
