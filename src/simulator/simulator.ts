import { once } from 'node:events';
import type { Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ErrorRequestHandler, Express } from 'express';
import express from 'express';
import {
  integrationDeleteEndpoint,
  integrationPatchEndpoint,
  integrationPostEndpoint,
  unknownEndpoint,
  usersMeEndpoint,
} from './api/app-integrations.js';
import { clipEndpoint } from './api/clips.js';
import { deviceEndpoint, deviceResourceEndpoint, devicesEndpoint, RELATIONS } from './api/devices.js';
import { downloadEndpoint, isOfClip } from './api/downloads.js';
import { serve } from './api/endpoint.js';
import { historyEndpoint } from './api/history.js';
import { imageEndpoint } from './api/images.js';
import { tokenEndpoint } from './api/oauth.js';
import { subscriptionsEndpoint } from './api/subscriptions.js';
import { whepDeleteEndpoint, whepPostEndpoint } from './api/whep.js';
import { appstoreRouter } from './appstore/routes.js';
import { controlRouter } from './control/routes.js';
import { Streams } from './media/streams.js';
import { recordedRing } from './recorded/routes.js';
import type { Simulation } from './state/state.js';
import { newState, USUAL_SETTINGS } from './state/state.js';

export interface SimulatorOptions {
  /** 0: any free port. The media host takes the next one; with 0, any free one. */
  port: number;
  /** The address to listen on; 127.0.0.1 unless given. */
  host?: string;
  /** The address for browsers; `http://localhost:<port>` unless given. */
  publicUrl?: string;
  clientId: string;
  clientSecret: string;
  hmacKey: string;
  /** `publicUrl` is for browsers. Ring's own calls go to `internalUrl`, or else to `publicUrl`. */
  app: { publicUrl: string; internalUrl?: string };
  /** Whether Ring sends webhooks by itself when the app is installed, completed or removed; false unless given. */
  automaticWebhooks?: boolean;
  /** The token to which the recorded answers of the real Ring are given; simulated ones unless given. */
  recordedToken?: string;
  /** The clock of codes, tokens and nonces, in epoch ms. Delays run on real time. */
  now?: () => number;
  /** No line holds a token, code, nonce or secret. */
  log?: (line: string) => void;
}

export interface Simulator {
  url: string;
  port: number;
  /** Ends at once, even if a fault holds connections open. */
  close(): Promise<void>;
}

/** Plays Ring: the Appstore page, the OAuth server, the Vision API, its media host and webhooks, with faults on demand. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const media = await listen(options.port === 0 ? 0 : mediaPortOf(options.port), options.host);
  const simulation = newSimulation(options, media.port);
  media.server.on('request', createMediaHost(simulation));
  const ring = await listen(options.port, options.host).catch(async (error: unknown) => {
    await end(media.server);
    throw error;
  });
  ring.server.on('request', createApp(simulation));

  return {
    url: withoutTrailingSlash(options.publicUrl ?? `http://localhost:${ring.port}`),
    port: ring.port,
    close: async () => {
      const ended = [end(ring.server), end(media.server)];
      simulation.state.lifetime.abort();
      await Promise.all([...ended, simulation.streams.ended()]);
    },
  };
}

/**
 * Plays the Ring of the developer console's Playground with its recorded answers, for this bearer token alone. There is
 * no app behind it.
 */
export function startRecordedRing(
  options: Pick<SimulatorOptions, 'port' | 'host' | 'now' | 'log'> & { token: string },
): Promise<Simulator> {
  const { token, ...rest } = options;
  return startSimulator({ ...NO_APP, ...rest, recordedToken: token });
}

/** Stands for an app where none is needed. */
export const NO_APP = {
  clientId: 'none',
  clientSecret: 'none',
  hmacKey: 'none',
  app: { publicUrl: 'http://localhost:9' },
};

/** The media host listens beside Ring, on the next port. */
function mediaPortOf(port: number): number {
  return port + 1;
}

async function listen(port: number, host = '127.0.0.1'): Promise<{ server: Server; port: number }> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

async function end(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

function newSimulation(options: SimulatorOptions, mediaPort: number): Simulation {
  const now = options.now ?? Date.now;
  const log = options.log ?? (() => undefined);
  const { clientId, clientSecret, hmacKey, app } = options;
  const initialSettings = {
    ...USUAL_SETTINGS,
    automaticWebhooks: options.automaticWebhooks ?? false,
    recordedToken: options.recordedToken ?? null,
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
    log,
    mediaPort,
    streams: new Streams(log),
    initialSettings,
    state: newState(now, initialSettings),
  };
}

function createApp(simulation: Simulation): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(['/oauth', '/v1'], express.text({ type: () => true, limit: '64kb' }));
  app.use('/v1', recordedRing(simulation));
  app.post('/oauth/token', serve(simulation, tokenEndpoint(simulation)));
  app.get('/v1/users/me', serve(simulation, usersMeEndpoint(simulation)));
  app
    .route('/v1/accounts/me/app-integrations')
    .post(serve(simulation, integrationPostEndpoint(simulation)))
    .patch(serve(simulation, integrationPatchEndpoint(simulation)))
    .delete(serve(simulation, integrationDeleteEndpoint(simulation)));
  app.get('/v1/devices', serve(simulation, devicesEndpoint(simulation)));
  app.get('/v1/devices/:device_id', serve(simulation, deviceEndpoint(simulation)));
  for (const relation of RELATIONS) {
    app.get(`/v1/devices/:device_id/${relation}`, serve(simulation, deviceResourceEndpoint(simulation, relation)));
  }
  app.get('/v1/history/devices/:device_id/events', serve(simulation, historyEndpoint(simulation)));
  app.post('/v1/devices/:device_id/media/image/download', serve(simulation, imageEndpoint(simulation)));
  app.post('/v1/devices/:device_id/media/video/download', serve(simulation, clipEndpoint(simulation)));
  const whepSessions = '/v1/devices/:device_id/media/streaming/whep/sessions';
  app.post(whepSessions, serve(simulation, whepPostEndpoint(simulation)));
  app.delete(`${whepSessions}/:session_id`, serve(simulation, whepDeleteEndpoint(simulation)));
  app.get('/v1/accounts/me/subscriptions', serve(simulation, subscriptionsEndpoint(simulation)));
  app.use(['/oauth', '/v1'], serve(simulation, unknownEndpoint(simulation)));
  app.use('/control', controlRouter(simulation));
  app.use(appstoreRouter(simulation));
  app.use(answerError(simulation));
  return app;
}

/**
 * The host of pre-signed URLs. Its origin differs from Ring's, so that a client has to leave its bearer token behind.
 */
function createMediaHost(simulation: Simulation): Express {
  const app = express();
  app.disable('x-powered-by');
  const ofClip = serve(simulation, downloadEndpoint(simulation, 'clip-media'));
  const ofImage = serve(simulation, downloadEndpoint(simulation, 'media'));
  app.get('/v1/download', (request, response, next) => {
    const { security_token: token } = request.query;
    const serveDownload = typeof token === 'string' && isOfClip(simulation, token) ? ofClip : ofImage;
    return serveDownload(request, response, next);
  });
  app.use(serve(simulation, unknownEndpoint(simulation)));
  app.use(answerError(simulation));
  return app;
}

/** Answers errors that no router expected, and bodies that can't be read. */
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
