import { randomUUID } from 'node:crypto';

export interface RingUser {
  id: string;
  account_id: string;
}

export interface Installation {
  account_id: string;
  callback: { status: number | null; body: string } | null;
  repeated?: { status: number | null; body: string };
}

export interface LinkUrl {
  url: string;
  nonce: string;
  /** Epoch ms. */
  time: number;
}

export interface RingRequest {
  method: string;
  path: string;
  status: number | null;
  account_id?: string;
  [fact: string]: unknown;
}

export interface Fault {
  endpoint: 'token' | 'users-me' | 'integration-post' | 'integration-patch' | 'callback';
  fault: { kind: string; [detail: string]: unknown };
  when?: 'before' | 'after';
  times?: number;
}

/** Ring, seen by a test: the simulator's control over HTTP. */
export class Ring {
  constructor(readonly url: string) {}

  /** A Ring user that no other test knows. */
  createUser(user: Record<string, unknown> = {}): Promise<RingUser> {
    return this.#call('POST', '/control/users', { account_id: `ava1.ring.account.${randomUUID()}`, ...user });
  }

  /** The user installs the app: Ring sends the code to the app's callback. */
  install(user: RingUser, sendAs: 'json' | 'form' | 'query' = 'json'): Promise<Installation> {
    return this.#call('POST', '/control/installs', { user_id: user.id, send_as: sendAs });
  }

  /** Installs without telling the app. */
  issueCode(user: RingUser): Promise<{ code: string; account_id: string }> {
    return this.#call('POST', '/control/codes', { user_id: user.id });
  }

  /** Where Ring redirects the browser when the user taps Sign In. */
  linkUrl(user: RingUser): Promise<LinkUrl> {
    return this.#call('GET', `/control/link-url?user_id=${encodeURIComponent(user.id)}`);
  }

  setFaults(faults: Fault[]): Promise<void> {
    return this.#call('PUT', '/control/faults', faults);
  }

  setIntegrationBody(integrationBody: 'flat' | 'json-api'): Promise<void> {
    return this.#call('PUT', '/control/settings', { integrationBody });
  }

  /** What Ring has received. */
  requests(): Promise<RingRequest[]> {
    return this.#call('GET', '/control/requests');
  }

  async integrationOf(user: RingUser): Promise<{ status: string; account_identifier: string | null } | undefined> {
    const all = await this.#call<{ user_id: string; status: string; account_identifier: string | null }[]>(
      'GET',
      '/control/integrations',
    );
    return all.find((integration) => integration.user_id === user.id);
  }

  async #call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`the simulator answered ${method} ${path} with ${response.status}: ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as Answer;
  }
}
