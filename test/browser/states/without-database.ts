import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Page } from 'playwright-core';
import { visitAs } from '../../support/browser.js';
import { signedIn } from '../../support/linking.js';
import { createTestDatabase } from '../../support/postgres.js';
import { createProcessWorld } from '../../support/process.js';

/** The home page for somebody who is signed in, after the app has lost its database. */
export async function visitWithoutDatabase(page: Page): Promise<void> {
  const database = await createTestDatabase();
  const cable = await layCable(database.url);
  // In a process of its own: under jest, an app does not know errors of the network for errors.
  const home = await createProcessWorld({ databaseUrl: cable.url });
  try {
    await home.startApp();
    const visitor = await signedIn(home);
    await cable.cut();
    await visitAs(page, visitor, '/ring/home');
  } finally {
    await home.stop();
    await cable.cut();
    await database.drop();
  }
}

/** A way to a database that can be cut: who is connected is cut off, and nobody gets through any more. */
async function layCable(databaseUrl: string): Promise<{ url: string; cut(): Promise<void> }> {
  const { hostname, port } = new URL(databaseUrl);
  const ends = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      ends.add(end);
      end.pipe(other);
      // An end that breaks takes the other with it, which is what a cut looks like from there.
      end.on('error', () => other.destroy());
      end.on('close', () => {
        ends.delete(end);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = `${(server.address() as AddressInfo).port}`;
  return {
    url: url.href,
    async cut() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      for (const end of ends) end.destroy();
      await closed;
    },
  };
}
