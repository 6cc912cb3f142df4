import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import type { Streams } from '../media/streams.js';
import { Accounts } from './accounts.js';
import { Deliveries } from './deliveries.js';
import { Faults } from './faults.js';
import { inventedPeople } from './invented-people.js';
import { LiveViews } from './live-views.js';
import { Lives } from './lives.js';
import { Recordings } from './recordings.js';
import { RequestLimit } from './request-limit.js';
import { RequestLog } from './request-log.js';
import { IMAGE_FORMATS, SignedDownloads } from './signed-downloads.js';
import { TokenStore } from './tokens.js';

/** The forms of a successful answer of app-integrations. Ring's pages show the first two; `none` is 204 without a body. */
export const INTEGRATION_BODIES = ['flat', 'json-api', 'none'] as const;
export type IntegrationBody = (typeof INTEGRATION_BODIES)[number];

/**
 * The forms of the `Location` of a live view. Ring documents `absolute`, WHEP also allows `relative`. `missing`: there is
 * none. `other-origin`: it is on a host that is not Ring's. `unreadable`: it is no URL. `trailing-slash`: it ends in `/`.
 */
export const WHEP_LOCATIONS = [
  'absolute',
  'relative',
  'missing',
  'other-origin',
  'unreadable',
  'trailing-slash',
] as const;
export type WhepLocation = (typeof WHEP_LOCATIONS)[number];

/** `without-refresh-token`: the answer to a refresh has none, and the old one stays good (RFC 6749, section 6). */
export const REFRESH_ANSWERS = ['new-pair', 'without-refresh-token'] as const;

/** `without-filter`: `links.next` has dropped `event_types`. */
export const HISTORY_NEXTS = ['whole', 'without-filter'] as const;

/** `told`: answers tell the limit of requests. `enforced`: requests over it are refused, too. */
export const REQUEST_LIMITS = ['told', 'enforced'] as const;

/** The behaviour of this Ring where Ring's pages leave it open, or where a test wants another. */
const allSettings = z.strictObject({
  integrationBody: z.enum(INTEGRATION_BODIES),
  /** Whether Ring sends webhooks by itself when an app is installed, completed or removed. */
  automaticWebhooks: z.boolean(),
  /** The factor by which webhooks are retried faster than by Ring. */
  webhookSpeed: z.number().min(0.01).max(1_000_000),
  whepLocation: z.enum(WHEP_LOCATIONS),
  refreshAnswer: z.enum(REFRESH_ANSWERS),
  requestLimit: z.enum(REQUEST_LIMITS),
  /** The format of a picture for which none was asked. Ring's pages don't say it. */
  defaultImageFormat: z.enum(IMAGE_FORMATS),
  /** The length of what a motion or a press records. */
  recordingMs: z.int().min(0).max(600_000),
  /** The time from the beginning of a motion or press until its pictures can be downloaded; 425 before that. */
  recordingReadyAfterMs: z.int().min(0).max(600_000),
  /** The status of the redirect to a clip. Ring's pages name both. */
  clipRedirect: z.union([z.literal(301), z.literal(303)]),
  /** The least size of a clip in bytes. Padding makes a smaller one larger. */
  clipMinBytes: z.int().min(0).max(50_000_000),
  devicesPageSize: z.int().min(1).max(1_000),
  historyPageSize: z.int().min(1).max(1_000),
  historyNext: z.enum(HISTORY_NEXTS),
  /** Whether the pages of history end in an empty one, which still has a `links.next`. */
  historyEmptyPage: z.boolean(),
  /** The difference of `start` in history from the time of the webhook; negative is earlier. */
  historyStartOffMs: z.int().min(-10_000).max(10_000),
  /**
   * With a token, `/v1` gives the answers that were recorded from the real Ring, to this token alone. Null: the
   * simulated ones.
   */
  recordedToken: z.string().min(1).max(1_000).nullable(),
});
export type Settings = z.infer<typeof allSettings>;

export const USUAL_SETTINGS: Settings = {
  integrationBody: 'flat',
  automaticWebhooks: false,
  webhookSpeed: 1,
  whepLocation: 'absolute',
  refreshAnswer: 'new-pair',
  requestLimit: 'told',
  defaultImageFormat: 'png',
  recordingMs: 8_000,
  recordingReadyAfterMs: 0,
  clipRedirect: 303,
  clipMinBytes: 0,
  devicesPageSize: 100,
  historyPageSize: 25,
  historyNext: 'whole',
  historyEmptyPage: false,
  historyStartOffMs: 0,
  recordedToken: null,
};

/** Some settings that are to change. */
export const settingsSchema = allSettings.partial();

/** Everything that a reset clears. */
export interface State {
  /** epoch ms */
  began_at: number;
  accounts: Accounts;
  tokens: TokenStore;
  faults: Faults;
  requests: RequestLog;
  requestLimit: RequestLimit;
  deliveries: Deliveries;
  liveViews: LiveViews;
  recordings: Recordings;
  downloads: SignedDownloads;
  lives: Lives;
  settings: Settings;
  /** Aborted on reset and on close. It ends delays, silent connections, late callbacks, webhooks and streams. */
  lifetime: AbortController;
}

/** The partner app: its credentials, and where it is reached. */
export interface PartnerApp {
  clientId: string;
  clientSecret: string;
  hmacKey: string;
  /** The address for browsers. */
  publicUrl: string;
  /** The address for Ring's own calls. */
  internalUrl: string;
}

export interface Simulation {
  readonly app: PartnerApp;
  /** epoch ms */
  readonly now: () => number;
  /** No line holds a token, code, nonce or secret. */
  readonly log: (line: string) => void;
  /** The port of the host that pictures are downloaded from. */
  readonly mediaPort: number;
  /** The media streams of live views. A stream ends with the state in which it began. */
  readonly streams: Streams;
  /** The settings that a reset restores. */
  readonly initialSettings: Settings;
  state: State;
}

export function newState(now: () => number, settings: Settings): State {
  const lifetime = new AbortController();
  setMaxListeners(0, lifetime.signal);
  const liveViews = new LiveViews(now);
  return {
    began_at: now(),
    accounts: new Accounts(inventedPeople()),
    tokens: new TokenStore(now),
    faults: new Faults(),
    requests: new RequestLog(),
    requestLimit: new RequestLimit(),
    deliveries: new Deliveries(),
    liveViews,
    recordings: new Recordings(liveViews),
    downloads: new SignedDownloads(),
    lives: new Lives(),
    settings: { ...settings },
    lifetime,
  };
}

/** Clears the state and releases every connection that a fault holds. */
export function reset(simulation: Simulation): void {
  simulation.state.lifetime.abort();
  simulation.state = newState(simulation.now, simulation.initialSettings);
}
