import { randomUUID } from 'node:crypto';

export interface RingUser {
  id: string;
  account_id: string;
  devices: { id: string; name: string; online: boolean; power: 'battery' | 'wired' }[];
}

/** What is left out is as for most users and devices; null is what Ring doesn't know. */
export interface NewRingUser {
  first_name?: string;
  last_name?: string;
  email?: string;
  phone_number?: string;
  account_id?: string;
  devices?: {
    id?: string;
    name: string;
    online?: boolean;
    power?: 'battery' | 'wired';
    capabilities?: object | null;
    configurations?: object | null;
    location?: object | null;
  }[];
}

export type EventType =
  | 'motion_detected'
  | 'button_press'
  | 'device_added'
  | 'device_removed'
  | 'device_online'
  | 'device_offline'
  | 'app_integration_added'
  | 'app_integration_removed'
  | 'subscription_activated'
  | 'subscription_deactivated'
  // Ring may add types; a test may send any text. The object keeps the names above for an editor to offer.
  | (string & {});

/** A webhook that a test wants Ring to send; what is left out is filled in. */
export interface EventWish {
  user_id: string;
  type: EventType;
  /** The user's first device unless given. */
  device_id?: string;
  /** The class of a motion, or paid or trial of a subscription. */
  sub_type?: string;
  /** Where the class of a motion stands; `data` unless given. */
  sub_type_in?: 'data' | 'attributes';
  source_type?: string;
  /** When it happened, epoch ms. */
  timestamp?: number;
  /** The text of `meta.time`. */
  time?: string;
  request_id?: string;
  subscription_id?: string;
  plan_id?: string | null;
  expires_at?: string | null;
  device_ids?: string[];
  /** Whether it happens at Ring too; it does unless false. */
  effect?: boolean;
  deliver?: 'normal' | 'twice' | 'dropped' | 'bad-signature';
  /** Whether to wait for the app's first answer; so unless false. */
  wait?: boolean;
}

export interface SentEvent {
  request_id: string;
  event: {
    meta: { version: string; time: string; request_id: string; account_id: string };
    data: { id: string; type: string; subType?: string; attributes: Record<string, unknown>; relationships?: object };
  };
  /** As it was sent, byte by byte. */
  body: string;
  /** `X-Signature` */
  signature: string;
  /** The first attempt; two when it was sent twice, none when it was not waited for. Status null: no answer. */
  attempts: { status: number | null }[];
}

export interface Delivery {
  request_id: string;
  type: string;
  account_id: string;
  state: 'delivered' | 'refused' | 'retrying' | 'dead-letter' | 'dropped';
  /** `at` in epoch ms of the simulator's clock. */
  attempts: { at: number; status: number | null; ms: number }[];
}

/** Those that are given change, the others stay. */
export interface Settings {
  integrationBody?: 'flat' | 'json-api';
  /** Whether Ring sends webhooks by itself for what happens to an app: installed, completed, removed. */
  automaticWebhooks?: boolean;
  /** How many times faster than Ring webhooks are retried. */
  webhookSpeed?: number;
  /** How the `Location` of a live view is written. */
  whepLocation?: 'relative' | 'absolute';
}

export interface WholeLife {
  user_id: string;
  /** Those that were done, in order; what is needed and goes wrong is the last. */
  steps: { step: string; ok: boolean; detail: string }[];
}

export interface LiveView {
  session_id: string;
  account_id: string;
  device_id: string;
  /** Epoch ms of the simulator's clock. */
  started_at: number;
  state: 'open' | 'closed' | 'expired';
}

export interface Installation {
  account_id: string;
  callback: { status: number | null; body: string } | null;
  repeated?: { status: number | null; body: string };
}

export interface RingIntegration {
  user_id: string;
  status: string;
  account_identifier: string | null;
  device_ids: string[];
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
  device_id?: string;
  /** Of a request to the media host. */
  authorization?: 'present' | 'absent';
  [fact: string]: unknown;
}

export interface Fault {
  endpoint:
    | 'token'
    | 'users-me'
    | 'integration-post'
    | 'integration-patch'
    | 'devices'
    | 'device'
    | 'whep-post'
    | 'whep-delete'
    | 'image'
    | 'media'
    | 'subscriptions'
    | 'callback';
  fault: { kind: string; [detail: string]: unknown };
  when?: 'before' | 'after';
  times?: number;
}

/** Ring, seen by a test: the simulator's control over HTTP. */
export class Ring {
  constructor(readonly url: string) {}

  /** A Ring user that no other test knows. */
  createUser(user: NewRingUser = {}): Promise<RingUser> {
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

  /** Lets go of what a fault of the kind `hold` holds, and of all other faults. */
  release(): Promise<void> {
    return this.setFaults([]);
  }

  setIntegrationBody(integrationBody: 'flat' | 'json-api'): Promise<void> {
    return this.setSettings({ integrationBody });
  }

  setSettings(settings: Settings): Promise<void> {
    return this.#call('PUT', '/control/settings', settings);
  }

  /** Lets it happen at Ring, and sends the app its webhook. */
  sendEvent(event: EventWish): Promise<SentEvent> {
    return this.#call('POST', '/control/events', event);
  }

  /** The events happen in the order of the list, a millisecond apart, and are delivered in the other one. */
  sendEvents(
    events: EventWish[],
    order: 'as-given' | 'reversed' | 'shuffled' | 'simultaneous' = 'as-given',
  ): Promise<SentEvent[]> {
    return this.#call('POST', '/control/event-batches', { events, order });
  }

  /** The webhooks that Ring has sent or is trying to send, oldest first. */
  deliveries(): Promise<Delivery[]> {
    return this.#call('GET', '/control/deliveries');
  }

  /** Returns how many were sent again, after the first attempt of each. */
  async replayDeadLetters(): Promise<number> {
    const { replayed } = await this.#call<{ replayed: number }>('POST', '/control/dead-letters/replay');
    return replayed;
  }

  /** A whole life with the app, from installing to removing it; somebody new's unless given. */
  liveLife(user?: RingUser): Promise<WholeLife> {
    return this.#call('POST', '/control/lives', user === undefined ? {} : { user_id: user.id });
  }

  /** The live views that the app has started, oldest first. */
  liveViews(): Promise<LiveView[]> {
    return this.#call('GET', '/control/live-views');
  }

  /** The user removes the app in Ring; `good` tokens are not revoked, and belong to no integration. */
  removeApp(user: RingUser, tokens: 'revoked' | 'good' = 'revoked'): Promise<void> {
    return this.#call('DELETE', `/control/integrations?user_id=${encodeURIComponent(user.id)}&tokens=${tokens}`);
  }

  /** What Ring has received. */
  requests(): Promise<RingRequest[]> {
    return this.#call('GET', '/control/requests');
  }

  async integrationOf(user: RingUser): Promise<RingIntegration | undefined> {
    const all = await this.#call<RingIntegration[]>('GET', '/control/integrations');
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
