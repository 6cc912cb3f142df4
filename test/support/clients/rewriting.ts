import { listen } from './stand-in.js';
import { startWorld, type World } from '../worlds/world.js';

/** A world whose answers about devices a test may rewrite, for what the simulator never says. */
export interface RewritingWorld extends World {
  /** Rewrites the text of each answer about devices, as the simulator has given it. */
  rewrite: (change: (answer: string) => string) => void;
}

/** Between the app and Ring stands a server that passes everything on. It is closed by `closeStandIns`. */
export async function startRewritingWorld(): Promise<RewritingWorld> {
  let change = (answer: string): string => answer;
  let ringUrl = '';
  const url = await listen((request, response) => {
    const pass = async (): Promise<void> => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const path = request.url ?? '/';
      const { authorization, 'content-type': type = 'application/json' } = request.headers;
      const answer = await fetch(ringUrl + path, {
        method: request.method ?? 'GET',
        headers: { 'content-type': type, ...(authorization !== undefined && { authorization }) },
        redirect: 'manual',
        ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
      });
      const text = await answer.text();
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' });
      response.end(path.startsWith('/v1/devices') && answer.ok ? change(text) : text);
    };
    pass().catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  const world = await startWorld({ environment: { RING_API_URL: url } });
  ringUrl = world.ring.url;
  return {
    ...world,
    rewrite(to) {
      change = to;
    },
  };
}
