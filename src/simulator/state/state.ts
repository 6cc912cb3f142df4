import { setMaxListeners } from 'node:events';

import { z } from 'zod';

import { Accounts } from './accounts.js';
import { Deliveries } from './deliveries.js';
import { Faults } from './faults.js';
import { inventedPeople } from './invented-people.js';
import { LiveViews } from './live-views.js';
import { Lives } from './lives.js';
import { RequestLog } from './request-log.js';
import { SignedDownloads } from './signed-downloads.js';
import type { Streams } from '../media/streams.js';
import { TokenStore } from './tokens.js';

/** What a success of app-integrations looks like: Ring's pages show both. */
export const INTEGRATION_BODIES = ['flat', 'json-api'] as const;
export type IntegrationBody = (typeof INTEGRATION_BODIES)[number];

/** How the `Location` of a live view is written: WHEP allows both. */
export const WHEP_LOCATIONS = ['relative', 'absolute'] as const;

/** How this Ring behaves, where Ring's pages leave it open or a test wants it otherwise. */
export interface Settings {
  integrationBody: IntegrationBody;
  /** Whether Ring sends webhooks by itself for what happens to an app: installed, completed, removed. */
  automaticWebhooks: boolean;
  /** How many times faster than Ring webhooks are retried. */
  webhookSpeed: number;
  whepLocation: (typeof WHEP_LOCATIONS)[number];
}

/** A change of some settings. */
export const settingsSchema = z.strictObject({
  integrationBody: z.enum(INTEGRATION_BODIES).exactOptional(),
  automaticWebhooks: z.boolean().exactOptional(),
  webhookSpeed: z.number().min(0.01).max(1_000_000).exactOptional(),
  whepLocation: z.enum(WHEP_LOCATIONS).exactOptional(),
});

/** Everything that a reset forgets. */
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
  /** Aborted on reset and on close: delays, silent connections, late callbacks, webhooks and streams end with it. */
  lifetime: AbortController;
}

/** The partner app as Ring knows it, and where it is. */
export interface PartnerApp {
  clientId: string;
  clientSecret: string;
  hmacKey: string;
  /** Where browsers are sent. */
  publicUrl: string;
  /** Where Ring's own calls go. */
  internalUrl: string;
}

export interface Simulation {
  readonly app: PartnerApp;
  /** epoch ms */
  readonly now: () => number;
  /** Never given a token, code, nonce or secret. */
  readonly log: (line: string) => void;
  /** Where pictures are downloaded from. */
  readonly mediaPort: number;
  /** The live views that are played. They end with the state that they began with. */
  readonly streams: Streams;
  /** Those that a reset goes back to. */
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

/** Forgets everything and lets go of every connection that a fault holds. */
export function reset(simulation: Simulation): void {
  simulation.state.lifetime.abort();
  simulation.state = newState(simulation.now, simulation.initialSettings);
}
