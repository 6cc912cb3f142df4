import { setMaxListeners } from 'node:events';

import { Accounts } from './accounts.js';
import { Faults } from './faults.js';
import { RequestLog } from './request-log.js';
import { TokenStore } from './tokens.js';

/** What a success of app-integrations looks like: Ring's pages show both. */
export const INTEGRATION_BODIES = ['flat', 'json-api'] as const;
export type IntegrationBody = (typeof INTEGRATION_BODIES)[number];

/** Everything that a reset forgets. */
export interface State {
  accounts: Accounts;
  tokens: TokenStore;
  faults: Faults;
  requests: RequestLog;
  integrationBody: IntegrationBody;
  /** Aborted on reset and on close: delays, silent connections and late callbacks end with it. */
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
  state: State;
}

export function newState(now: () => number): State {
  const lifetime = new AbortController();
  setMaxListeners(0, lifetime.signal);
  return {
    accounts: new Accounts(),
    tokens: new TokenStore(now),
    faults: new Faults(),
    requests: new RequestLog(),
    integrationBody: 'flat',
    lifetime,
  };
}

/** Forgets everything and lets go of every connection that a fault holds. */
export function reset(simulation: Simulation): void {
  simulation.state.lifetime.abort();
  simulation.state = newState(simulation.now);
}
