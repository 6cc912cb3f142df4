import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import type { Streams } from '../media/streams.js';
import { Accounts } from './accounts.js';
import { Deliveries } from './deliveries.js';
import { Faults } from './faults.js';
import { inventedPeople } from './invented-people.js';
import { LiveViews } from './live-views.js';
import { Lives } from './lives.js';
import { RequestLog } from './request-log.js';
import { SignedDownloads } from './signed-downloads.js';
import { TokenStore } from './tokens.js';

/** The forms of a successful answer of app-integrations. Ring's pages show both. */
export const INTEGRATION_BODIES = ['flat', 'json-api'] as const;
export type IntegrationBody = (typeof INTEGRATION_BODIES)[number];

/** The forms of the `Location` of a live view. WHEP allows both. */
export const WHEP_LOCATIONS = ['relative', 'absolute'] as const;

/** The behaviour of this Ring where Ring's pages leave it open, or where a test wants another. */
export interface Settings {
  integrationBody: IntegrationBody;
  /** Whether Ring sends webhooks by itself when an app is installed, completed or removed. */
  automaticWebhooks: boolean;
  /** The factor by which webhooks are retried faster than by Ring. */
  webhookSpeed: number;
  whepLocation: (typeof WHEP_LOCATIONS)[number];
}

/** Some settings that are to change. */
export const settingsSchema = z.strictObject({
  integrationBody: z.enum(INTEGRATION_BODIES).exactOptional(),
  automaticWebhooks: z.boolean().exactOptional(),
  webhookSpeed: z.number().min(0.01).max(1_000_000).exactOptional(),
  whepLocation: z.enum(WHEP_LOCATIONS).exactOptional(),
});

/** Everything that a reset clears. */
export interface State {
  accounts: Accounts;
  tokens: TokenStore;
  faults: Faults;
  requests: RequestLog;
  deliveries: Deliveries;
  liveViews: LiveViews;
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
  return {
    accounts: new Accounts(inventedPeople()),
    tokens: new TokenStore(now),
    faults: new Faults(),
    requests: new RequestLog(),
    deliveries: new Deliveries(),
    liveViews: new LiveViews(now),
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
