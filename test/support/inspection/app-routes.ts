import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Server } from 'node:http';
import { send } from '../clients/http.js';
import type { World } from '../worlds/world.js';

export interface AppRoute {
  path: string;
  methods: string[];
}

/** The internal form in which Express 5 keeps routes. */
interface Layer {
  name: string;
  rawPath: string | string[];
  handle: { stack?: Layer[]; length: number };
  route?: { path: string | string[]; stack: { method?: string }[] };
}

/** The routes of the app that serves this world, read from the server that answers a request. */
export async function routesOf({ url }: World): Promise<AppRoute[]> {
  let server: Server | undefined;
  const port = Number(new URL(url).port);
  const onRequest = (message: unknown) => {
    const answering = (message as { server: Server }).server;
    const address = answering.address();
    if (typeof address === 'object' && address?.port === port) server = answering;
  };
  subscribe('http.server.request.start', onRequest);
  await send(url, '/livez');
  unsubscribe('http.server.request.start', onRequest);
  const apps = (server?.listeners('request') ?? []) as { router?: { stack: Layer[] } }[];
  const stack = apps.find(({ router }) => router !== undefined)?.router?.stack;
  if (stack === undefined) throw new Error('the server that answers is no Express app');
  return walk(stack, '').flatMap(({ path, methods }) => [path].flat().map((one) => ({ path: one, methods })));
}

function walk(layers: Layer[], prefix: string): AppRoute[] {
  const found = new Map<string, Set<string>>();
  const add = (path: string, methods: string[]) => {
    found.set(path, new Set([...(found.get(path) ?? []), ...methods]));
  };
  for (const { name, rawPath, handle, route } of layers) {
    // Files are no routes.
    if (rawPath === '/assets') continue;
    if (route !== undefined) {
      // A handler for all methods has no method of its own.
      const methods = route.stack.flatMap(({ method }) => (method === undefined ? [] : [method.toUpperCase()]));
      for (const path of [route.path].flat()) add(prefix + path, methods);
    } else if (handle.stack !== undefined) {
      const mount = [rawPath].flat().join('|');
      for (const { path, methods } of walk(handle.stack, prefix + (mount === '/' ? '' : mount))) add(path, methods);
    } else if (rawPath !== '/' && handle.length < 4) {
      add(prefix + [rawPath].flat().join('|'), [`USE ${name}`]);
    }
  }
  return [...found].map(([path, methods]) => ({ path, methods: [...methods] }));
}
