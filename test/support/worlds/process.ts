import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type Simulator, startSimulator } from '../../../src/simulator/simulator.js';
import { Visitor } from '../clients/visitor.js';
import { until } from '../waiting/until.js';
import { createTestDatabase } from './postgres.js';
import { Ring } from './ring.js';

/** The file that `npm start` and the container run. */
const MAIN = fileURLToPath(new URL('../../../src/main.js', import.meta.url));

export interface Ended {
  code: number | null;
  signal: string | null;
}

/** The app as an operating system process of its own. It leads a process group, as it would in a terminal. */
export interface AppProcess {
  pid: number;
  /** Its output so far. */
  stdout(): string;
  stderr(): string;
  /** Sends a signal to the process alone. */
  kill(signal: NodeJS.Signals): void;
  /** Sends a signal to its whole process group, as Ctrl-C does. */
  killGroup(signal: NodeJS.Signals): void;
  ended: Promise<Ended>;
  hasEnded(): boolean;
}

/** Runs a command with this environment and nothing else, except the PATH and the tests' own time zone. */
export function spawnProcess(
  command: string,
  args: string[],
  environment: Record<string, string>,
  cwd = '/',
): AppProcess {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env.PATH, TZ: process.env.TZ, ...environment },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} could not be started`);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, 'close').then((result): Ended => {
    const [code, signal] = result as [number | null, string | null];
    return { code, signal };
  });
  return {
    pid,
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal) => child.kill(signal),
    killGroup(signal) {
      try {
        process.kill(-pid, signal);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    },
    ended,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
  };
}

/** Runs `node dist/src/main.js` of this build. */
export function spawnApp(environment: Record<string, string>): AppProcess {
  return spawnProcess(process.execPath, [MAIN], environment);
}

/** The address that tells whether an app has started. `/livez` also answers for an app that will not be ready. */
export type Probe = '/readyz' | '/livez';

/** Like {@link spawnApp}, and waits until the app is ready, or alive. */
export async function startApp(
  environment: Record<string, string> & { PORT: string },
  probe?: Probe,
): Promise<AppProcess> {
  const app = spawnApp(environment);
  await isReady(app, `http://127.0.0.1:${environment.PORT}`, probe);
  return app;
}

export async function isReady(app: AppProcess, url: string, probe: Probe = '/readyz'): Promise<void> {
  await until(`${url}${probe} says yes`, async () => {
    if (app.hasEnded()) throw new Error(`the app ended while starting:\n${app.stdout()}\n${app.stderr()}`);
    return (await statusOf(url + probe)) === 200;
  });
}

/** The status of the answer; undefined if there is none. */
export async function statusOf(url: string): Promise<number | undefined> {
  try {
    const response = await fetch(url, { redirect: 'manual', headers: { connection: 'close' } });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return undefined;
  }
}

/** Ring and a database in the test's process, and the environment of an app that runs in processes of its own. */
export interface ProcessWorld {
  ring: Ring;
  url: string;
  databaseUrl: string;
  environment: Record<string, string> & { PORT: string };
  /** Starts an instance on the world's port, or on another one. Killed when the world stops, if it still runs. */
  startApp(environment?: Record<string, string>, probe?: Probe): Promise<AppProcess>;
  visitor(): Visitor;
  sql<Row extends pg.QueryResultRow>(statement: string, values?: unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
}

export async function createProcessWorld(options: { databaseUrl?: string } = {}): Promise<ProcessWorld> {
  const own = options.databaseUrl === undefined ? await createTestDatabase() : undefined;
  const databaseUrl = options.databaseUrl ?? own?.url ?? '';
  const port = await freePorts();
  const url = `http://localhost:${port}`;
  const credentials = {
    clientId: `test-client-${randomUUID()}`,
    clientSecret: `client-secret-${randomUUID()}`,
    hmacKey: `hmac-key-${randomUUID()}`,
  };
  const simulator: Simulator = await startSimulator({
    port: 0,
    ...credentials,
    app: { publicUrl: url, internalUrl: `http://127.0.0.1:${port}` },
  });
  const environment = {
    PORT: `${port}`,
    PUBLIC_URL: url,
    DATABASE_URL: databaseUrl,
    RING_CLIENT_ID: credentials.clientId,
    RING_CLIENT_SECRET: credentials.clientSecret,
    RING_HMAC_KEY: credentials.hmacKey,
    RING_OAUTH_URL: simulator.url,
    RING_API_URL: simulator.url,
    RING_SIMULATOR: 'off',
    SESSION_SECRET: randomBytes(32).toString('hex'),
    TOKEN_ENCRYPTION_KEYS: `test:${randomBytes(32).toString('base64')}`,
    RATE_LIMIT_SCALE: '1000',
    LOG_LEVEL: 'trace',
  };
  // Connections are kept: a new one may not be had while Postgres is in the trouble that a test has made for it.
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4, idleTimeoutMillis: 0 });
  pool.on('error', () => undefined);
  const apps: AppProcess[] = [];

  return {
    ring: new Ring(simulator.url),
    url,
    databaseUrl,
    environment,
    async startApp(more = {}, probe) {
      const app = await startApp({ ...environment, ...more }, probe);
      apps.push(app);
      return app;
    },
    visitor: () => new Visitor(url),
    async sql<Row extends pg.QueryResultRow>(statement: string, values: unknown[] = []) {
      return (await pool.query<Row>(statement, values)).rows;
    },
    async stop() {
      for (const app of apps) {
        app.killGroup('SIGKILL');
        await app.ended;
      }
      await simulator.close();
      await pool.end();
      await own?.drop();
    },
  };
}

/** A port that is free together with the next two, which the built-in simulator uses. */
export async function freePorts(): Promise<number> {
  for (;;) {
    // A port below those that the system gives to outgoing connections, so that no connection takes it while the app
    // starts.
    const port = 10_240 + Math.floor(Math.random() * 22_000);
    if ((await isFree(port)) && (await isFree(port + 1)) && (await isFree(port + 2))) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
