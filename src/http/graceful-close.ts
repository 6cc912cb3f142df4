import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Prepares a server for closing. Call it before the server listens.
 *
 * @returns closes the server: no new connections, and the requests under way are finished. Connections without a request
 *   are closed at once, because browsers open some in advance and may never use them. After `limitMs` all are closed.
 */
export function gracefulClose(server: Server): (limitMs: number) => Promise<void> {
  const withoutRequest = new Set<Socket>();
  let isClosing = false;
  const release = (socket: Socket) => {
    if (isClosing) socket.destroy();
    else if (!socket.destroyed) withoutRequest.add(socket);
  };
  server.on('connection', (socket) => {
    release(socket);
    socket.once('close', () => withoutRequest.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    withoutRequest.delete(socket);
    response.once('close', () => {
      release(socket);
    });
  });
  return async (limitMs) => {
    isClosing = true;
    const closed = once(server, 'close');
    server.close();
    for (const socket of withoutRequest) socket.destroy();
    const limit = setTimeout(() => {
      server.closeAllConnections();
    }, limitMs);
    await closed;
    clearTimeout(limit);
  };
}
