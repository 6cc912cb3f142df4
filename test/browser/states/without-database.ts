import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Page } from 'playwright-core';
import { visitAs } from '../../support/clients/browser.js';
import { signedIn } from '../../support/features/linking.js';
import { createTestDatabase } from '../../support/worlds/postgres.js';
import { createProcessWorld } from '../../support/worlds/process.js';

/** The home page for a signed-in user after the app has lost its database. */
export async function visitWithoutDatabase(page: Page): Promise<void> {
  const database = await createTestDatabase();
  const cable = await layCable(database.url);
  // The app has a process of its own. Under jest, an app does not recognise errors of the network as errors.
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

/** A connection to a database that can be cut: open connections are closed, and new ones are refused. */
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
      // When one end breaks, the other is closed too, as it would be by a cut.
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
