import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:http';

import type { ErrorRequestHandler, Express } from 'express';
import express from 'express';

import { appstoreRouter } from './appstore.js';
import { controlRouter } from './control.js';
import { deviceEndpoint, devicesEndpoint } from './devices-api.js';
import { tokenEndpoint } from './oauth.js';
import { serve } from './ring-endpoint.js';
import type { Settings, Simulation } from './state.js';
import { newState } from './state.js';
import { integrationPatchEndpoint, integrationPostEndpoint, unknownEndpoint, usersMeEndpoint } from './vision-api.js';

export interface SimulatorOptions {
  /** 0: any free one. */
  port: number;
  /** 127.0.0.1 unless given. */
  host?: string;
  /** How browsers reach the simulator; `http://localhost:<port>` unless given. */
  publicUrl?: string;
  clientId: string;
  clientSecret: string;
  hmacKey: string;
  /** Browsers are redirected to publicUrl; Ring's own calls go to internalUrl, or else to publicUrl. */
  app: { publicUrl: string; internalUrl?: string };
  /** Whether Ring sends webhooks by itself when the app is installed, completed or removed; no unless given. */
  automaticWebhooks?: boolean;
  /** epoch ms; the clock of codes, tokens and nonces. Delays run on real time. */
  now?: () => number;
  /** Never given a token, code, nonce or secret. */
  log?: (line: string) => void;
}

export interface Simulator {
  url: string;
  port: number;
  /** Ends at once, whatever connection a fault holds open. */
  close(): Promise<void>;
}

/** Plays Ring for account linking: the Appstore page, the OAuth server and the Vision API, with faults on demand. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const simulation = newSimulation(options);
  const server = createServer(createApp(simulation));
  server.listen(options.port, options.host ?? '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    url: withoutTrailingSlash(options.publicUrl ?? `http://localhost:${port}`),
    port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      simulation.state.lifetime.abort();
      server.closeAllConnections();
      await closed;
    },
  };
}

function newSimulation(options: SimulatorOptions): Simulation {
  const now = options.now ?? Date.now;
  const { clientId, clientSecret, hmacKey, app } = options;
  const initialSettings: Settings = {
    integrationBody: 'flat',
    automaticWebhooks: options.automaticWebhooks ?? false,
    webhookSpeed: 1,
  };
  return {
    app: {
      clientId,
      clientSecret,
      hmacKey,
      publicUrl: withoutTrailingSlash(app.publicUrl),
      internalUrl: withoutTrailingSlash(app.internalUrl ?? app.publicUrl),
    },
    now,
    log: options.log ?? (() => undefined),
    initialSettings,
    state: newState(now, initialSettings),
  };
}

function createApp(simulation: Simulation): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(['/oauth', '/v1'], express.text({ type: () => true, limit: '64kb' }));
  app.post('/oauth/token', serve(simulation, tokenEndpoint(simulation)));
  app.get('/v1/users/me', serve(simulation, usersMeEndpoint(simulation)));
  app
    .route('/v1/accounts/me/app-integrations')
    .post(serve(simulation, integrationPostEndpoint(simulation)))
    .patch(serve(simulation, integrationPatchEndpoint(simulation)));
  app.get('/v1/devices', serve(simulation, devicesEndpoint(simulation)));
  app.get('/v1/devices/:device_id', serve(simulation, deviceEndpoint(simulation)));
  app.use(['/oauth', '/v1'], serve(simulation, unknownEndpoint(simulation)));
  app.use('/control', controlRouter(simulation));
  app.use(appstoreRouter(simulation));
  app.use(answerError(simulation));
  return app;
}

/** What no router expected, and bodies that can't be read. */
function answerError({ log }: Simulation): ErrorRequestHandler {
  return (error: unknown, _request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const isUnreadableBody = error instanceof Error && 'status' in error && typeof error.status === 'number';
    if (!isUnreadableBody) log(`unexpected: ${error instanceof Error ? error.message : typeof error}`);
    response
      .status(isUnreadableBody ? Number(error.status) : 500)
      .type('text')
      .send('The Ring simulator could not handle this.');
  };
}

function withoutTrailingSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
