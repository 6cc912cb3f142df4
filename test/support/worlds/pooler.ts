import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands before a database as PgBouncer does, and is as strict about what a connection begins with. */
export interface Pooler {
  url: string;
  close(): Promise<void>;
}

/** What PgBouncer takes at the start of a connection. It refuses everything else, unless it is told to ignore it. */
const TAKEN = new Set([
  'user',
  'database',
  'client_encoding',
  'application_name',
  'datestyle',
  'timezone',
  'standard_conforming_strings',
]);

const AUTHENTICATION_OK = message('R', Buffer.from([0, 0, 0, 0]));
const READY = message('Z', Buffer.from('I'));

/** @param mode `session`: one connection to Postgres for each client; `transaction`: one for all, in turns */
export async function startPooler(databaseUrl: string, mode: 'session' | 'transaction'): Promise<Pooler> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  /** The connection that clients share in transaction mode, and who is being answered. */
  let shared: Socket | undefined;
  let served: Socket | undefined;

  function dial(client: Socket, first: Buffer): Socket {
    const far = connect(Number(target.port), target.hostname);
    sockets.add(far);
    far.on('error', () => client.destroy());
    far.write(first);
    return far;
  }

  function onStart(client: Socket, first: Buffer): void {
    const refused = parametersOf(first).find((name) => !TAKEN.has(name.toLowerCase()));
    if (refused !== undefined) {
      client.end(errorResponse('08P01', `unsupported startup parameter: ${refused}`));
    } else if (mode === 'session') {
      const far = dial(client, first);
      client.pipe(far).pipe(client);
      client.on('close', () => far.destroy());
    } else if (shared === undefined) {
      shared = dial(client, first);
      shared.on('data', (chunk) => served?.write(chunk));
      serve(client, shared);
    } else {
      client.write(Buffer.concat([AUTHENTICATION_OK, READY]));
      serve(client, shared);
    }
  }

  /** Hands on what a client says, but for its good-bye. The tests' clients speak one after the other. */
  function serve(client: Socket, far: Socket): void {
    served = client;
    client.on('data', (chunk) => {
      served = client;
      if (chunk[0] !== 'X'.charCodeAt(0)) far.write(chunk);
      else client.end();
    });
  }

  const server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => client.destroy());
    client.once('data', (first) => {
      onStart(client, first);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = new URL(databaseUrl);
  address.port = `${(server.address() as AddressInfo).port}`;
  return {
    url: address.href,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** The names in a start: its length, the protocol, and then names and values, each ended by a zero. */
function parametersOf(start: Buffer): string[] {
  const texts = start.subarray(8).toString('utf8').split('\0');
  return texts.filter((text, index) => index % 2 === 0 && text !== '');
}

function errorResponse(code: string, text: string): Buffer {
  return message('E', Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`));
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
