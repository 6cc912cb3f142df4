import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Network {
  databaseUrl: string;
  /** Loses everything from now on, without a notice to either end. */
  freeze(): void;
  /** Carries again. Connections that have lost something are reset. */
  thaw(): void;
  /** How often a text was sent to the database, also while everything is lost. */
  countSent(text: string): number;
  close(): Promise<void>;
}

/** A connection to a database that can be watched, and that can lose everything on it. */
export async function startNetwork(databaseUrl: string): Promise<Network> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  /** What each connection has sent to the database. */
  const sent = new Map<Socket, Buffer[]>();
  let isFrozen = false;
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    const chunks: Buffer[] = [];
    sent.set(near, chunks);
    near.on('data', (chunk: Buffer) => chunks.push(chunk));
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => to.destroy());
      from.on('data', (chunk) => {
        if (!isFrozen) to.write(chunk);
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = new URL(databaseUrl);
  address.port = `${(server.address() as AddressInfo).port}`;
  return {
    databaseUrl: address.href,
    freeze() {
      isFrozen = true;
    },
    thaw() {
      isFrozen = false;
      for (const socket of sockets) socket.destroy();
    },
    countSent(text) {
      const all = [...sent.values()].map((chunks) => Buffer.concat(chunks).toString('latin1').split(text).length - 1);
      return all.reduce((sum, count) => sum + count, 0);
    },
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
