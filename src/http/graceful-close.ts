import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * @returns how to close the server: it takes no more connections, waits for the requests under way, and hangs up on every
 *   connection without one, for browsers open some in advance, on which nothing may ever be sent. After the limit, in ms,
 *   it hangs up on all.
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
