import { randomUUID } from 'node:crypto';

export interface RingUser {
  id: string;
  account_id: string;
  devices: { id: string; name: string; online: boolean; power: 'battery' | 'wired' }[];
}

export type Sensor = 'contact_detection' | 'flood_detection' | 'freeze_detection' | 'tamper_detection';

/** A user to be made. What is left out is as for most users and devices. Null is what Ring doesn't know. */
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
    image_url?: string;
    /** `account`: media come back encrypted. `end-to-end`: Ring hides the device. */
    encryption?: 'none' | 'account' | 'end-to-end';
    /** The sensors that notice something. */
    faulted?: Sensor[];
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
  | 'contact_sensor_faulted'
  | 'contact_sensor_cleared'
  | 'flood_detected'
  | 'flood_cleared'
  | 'freeze_detected'
  | 'freeze_cleared'
  | 'tamper_detected'
  | 'tamper_cleared'
  // Any text, because Ring may add types. The object keeps the names above for an editor to offer.
  | (string & {});

/** A webhook that a test wants Ring to send. What is left out is filled in. */
export interface EventWish {
  user_id: string;
  type: EventType;
  /** The device; the user's first unless given. */
  device_id?: string;
  /** The class of a motion, or `paid` or `trial` for a subscription. */
  sub_type?: string;
  /** The place of a motion's class; `data` unless given. */
  sub_type_in?: 'data' | 'attributes';
  source_type?: string;
  component_ids?: string[];
  /** The time of the event, epoch ms. */
  timestamp?: number;
  /** The text of `meta.time`. */
  time?: string;
  request_id?: string;
  subscription_id?: string;
  plan_id?: string | null;
  expires_at?: string | null;
  device_ids?: string[];
  /** Whether the event changes Ring's state too; true unless given. */
  effect?: boolean;
  deliver?: 'normal' | 'twice' | 'dropped' | 'bad-signature';
  /** Whether to wait for the app's first answer; true unless given. */
  wait?: boolean;
}

export interface SentEvent {
  request_id: string;
  event: {
    meta: { version: string; time: string; request_id: string; account_id: string };
    data: { id: string; type: string; subType?: string; attributes: Record<string, unknown>; relationships?: object };
  };
  /** The body as it was sent, byte by byte. */
  body: string;
  /** `X-Signature` */
  signature: string;
  /** The first attempt; two if it was sent twice, none if it was not waited for. Status null: no answer. */
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

/** Settings to change. The others stay. The simulator's `Settings` say what each means. */
export interface Settings {
  integrationBody?: 'flat' | 'json-api' | 'none';
  automaticWebhooks?: boolean;
  webhookSpeed?: number;
  whepLocation?: 'absolute' | 'relative' | 'missing' | 'other-origin' | 'unreadable' | 'trailing-slash';
  refreshAnswer?: 'new-pair' | 'without-refresh-token';
  requestLimit?: 'told' | 'enforced';
  defaultImageFormat?: 'jpeg' | 'png';
  recordingMs?: number;
  recordingReadyAfterMs?: number;
  clipRedirect?: 301 | 303;
  clipMinBytes?: number;
  devicesPageSize?: number;
  historyPageSize?: number;
  historyNext?: 'whole' | 'without-filter';
  historyEmptyPage?: boolean;
  historyStartOffMs?: number;
  /** The token of the recorded answers; null for the simulated ones. */
  recordedToken?: string | null;
}

/** Something that a device is to record without a webhook. What is left out is as for a motion that begins now. */
export interface NewRecording {
  user_id: string;
  /** The user's first device unless given. */
  device_id?: string;
  kind?: 'motion' | 'ding' | 'on_demand' | 'snapshot';
  sub_type?: string | null;
  /** Epoch ms; a frame each second from `start` to `end`. */
  start?: number;
  end?: number;
  /** A download before this is 425. */
  ready_at?: number;
  condition?: 'good' | 'corrupt';
}

export interface Recording extends Required<Omit<NewRecording, 'user_id'>> {
  /** Its ID in history. */
  id: string;
  account_id: string;
}

export interface WholeLife {
  user_id: string;
  /** The finished steps, in order. A needed step that fails is the last. */
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
  /** The body of a request for a picture or clip. */
  asked?: string;
  /** Recorded for a request to the media host only. */
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
    | 'device-resource'
    | 'history'
    | 'whep-post'
    | 'whep-delete'
    | 'image'
    | 'media'
    | 'clip'
    | 'clip-media'
    | 'subscriptions'
    | 'callback';
  fault: { kind: string; [detail: string]: unknown };
  when?: 'before' | 'after';
  times?: number;
}

/** Ring as a test sees it: the simulator's control over HTTP. */
export class Ring {
  constructor(readonly url: string) {}

  /** A new Ring user of the test's own. */
  createUser(user: NewRingUser = {}): Promise<RingUser> {
    return this.#call('POST', '/control/users', { account_id: `ava1.ring.account.${randomUUID()}`, ...user });
  }

  /** The user installs the app: Ring sends the code to the app's callback. */
  install(user: RingUser, sendAs: 'form' | 'json' | 'query' = 'form'): Promise<Installation> {
    return this.#call('POST', '/control/installs', { user_id: user.id, send_as: sendAs });
  }

  /** Installs without telling the app. */
  issueCode(user: RingUser): Promise<{ code: string; account_id: string }> {
    return this.#call('POST', '/control/codes', { user_id: user.id });
  }

  /** The address to which Ring redirects the browser when the user taps Sign In. */
  linkUrl(user: RingUser): Promise<LinkUrl> {
    return this.#call('GET', `/control/link-url?user_id=${encodeURIComponent(user.id)}`);
  }

  setFaults(faults: Fault[]): Promise<void> {
    return this.#call('PUT', '/control/faults', faults);
  }

  /** Releases the requests of a `hold`, and ends all other faults. */
  release(): Promise<void> {
    return this.setFaults([]);
  }

  setIntegrationBody(integrationBody: 'flat' | 'json-api' | 'none'): Promise<void> {
    return this.setSettings({ integrationBody });
  }

  setSettings(settings: Settings): Promise<void> {
    return this.#call('PUT', '/control/settings', settings);
  }

  /** Lets the event happen at Ring, and sends the app its webhook. */
  sendEvent(event: EventWish): Promise<SentEvent> {
    return this.#call('POST', '/control/events', event);
  }

  /** Lets the events happen in the order of the list, a millisecond apart, and delivers them in the given order. */
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

  /** Lives a whole life with the app, from installing to removing it, of a new user unless given. */
  liveLife(user?: RingUser): Promise<WholeLife> {
    return this.#call('POST', '/control/lives', user === undefined ? {} : { user_id: user.id });
  }

  /** A device records, and no webhook tells of it. Motions, presses and live views record by themselves. */
  record(recording: NewRecording): Promise<Recording> {
    return this.#call('POST', '/control/recordings', recording);
  }

  /** Everything that devices have recorded, oldest first. */
  recordings(): Promise<Recording[]> {
    return this.#call('GET', '/control/recordings');
  }

  /** Changes a device at Ring without a webhook: the user's first unless given. */
  changeDevice(
    user: RingUser,
    changes: Partial<Omit<NonNullable<NewRingUser['devices']>[number], 'id'>>,
    deviceId?: string,
  ): Promise<void> {
    return this.#call('PATCH', '/control/devices', { user_id: user.id, device_id: deviceId, ...changes });
  }

  /** The live views that the app has started, oldest first. */
  liveViews(): Promise<LiveView[]> {
    return this.#call('GET', '/control/live-views');
  }

  /** The user removes the app in Ring; `good` tokens are not revoked, and belong to no integration. */
  removeApp(user: RingUser, tokens: 'revoked' | 'good' = 'revoked'): Promise<void> {
    return this.#call('DELETE', `/control/integrations?user_id=${encodeURIComponent(user.id)}&tokens=${tokens}`);
  }

  /** The requests that Ring has received. */
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
