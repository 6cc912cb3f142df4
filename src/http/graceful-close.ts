import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * @returns how to close the server: it takes no more connections, waits for the requests under way, and hangs up on every
 *   connection without one. Browsers open some in advance, on which nothing may ever be sent.
 */
export function gracefulClose(server: Server): () => Promise<void> {
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
  return async () => {
    isClosing = true;
    const closed = once(server, 'close');
    server.close();
    for (const socket of withoutRequest) socket.destroy();
    await closed;
  };
}
