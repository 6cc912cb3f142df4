import { setTimeout as delay } from 'node:timers/promises';
import { type Config, ConfigError, simulatorPort } from './configuration/config.js';
import { reasonOfUnusedProxy } from './configuration/outgoing-proxy.js';
import { DATA_DIR } from './configuration/paths.js';
import { readOwnConfig } from './development/secrets.js';
import { createLogger } from './operations/logging.js';
import { startService } from './service.js';
import { systemClock } from './time/clock.js';
import { MissingKeyError } from './tokens/key-check.js';

const USAGE = `Runs the service until SIGTERM or Ctrl-C. All of its settings are environment variables; README.md lists them.

    npm start
    node --enable-source-maps dist/src/main.js
`;

if (process.argv.includes('--help')) {
  process.stdout.write(USAGE);
  process.exit();
}

const config = configuration();
/** The limit for each step of the shutdown. A step that takes longer ends with the process. */
const STOP_LIMIT_MS = (config.drainSeconds + 20) * 1_000;
const log = createLogger(config);

/** The functions that undo the steps of the start, in the order of the steps. */
const undo: (() => Promise<void>)[] = [];
let shuttingDown: Promise<void> | undefined;

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    log.info({ signal }, 'stopping');
    shuttingDown ??= shutDown(0);
  });
}

const started = start().catch((error: unknown) => {
  if (error instanceof MissingKeyError || error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
  log.fatal({ err: error }, 'could not start');
  shuttingDown ??= shutDown(1);
});

function configuration(): Config {
  try {
    return readOwnConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(error.problems.map((problem) => `${problem}\n`).join(''));
    process.exit(1);
  }
}

async function start(): Promise<void> {
  const unusedProxy = config.production ? reasonOfUnusedProxy(process.env) : undefined;
  if (unusedProxy !== undefined) log.warn(unusedProxy);
  const databaseUrl = config.databaseUrl ?? (await startOwnDatabase());
  if (isShuttingDown()) return;
  const service = await startService({ config, databaseUrl, port: config.port, clock: systemClock, log });
  undo.push(() => service.stop());
  announce('The app', `${config.publicUrl}/ring/home`);
  if (isShuttingDown()) return;
  if (config.simulator) await startOwnSimulator();
}

/**
 * Starts the embedded Postgres. Never in production, where the configuration demands a DATABASE_URL. The import is late,
 * because a production image does not hold the package.
 */
async function startOwnDatabase(): Promise<string> {
  const { startEmbeddedPostgres } = await import('./development/embedded-postgres.js');
  const postgres = await startEmbeddedPostgres({
    dataDir: `${DATA_DIR}postgres`,
    log: (line) => {
      log.debug({ postgres: line }, 'embedded Postgres');
    },
  });
  undo.push(() => postgres.stop());
  return postgres.url;
}

async function startOwnSimulator(): Promise<void> {
  const { startSimulator } = await import('./simulator/simulator.js');
  const simulator = await startSimulator({
    ...config.ring,
    port: simulatorPort(config.port),
    app: { publicUrl: config.publicUrl, internalUrl: `http://127.0.0.1:${config.port}` },
    automaticWebhooks: true,
    log: (line) => {
      log.debug({ simulator: line }, 'simulator');
    },
  });
  undo.push(() => simulator.close());
  announce('The Ring simulator (link an account here)', simulator.url);
}

/** Tells an address to the log and, outside production, to the developer's terminal. */
function announce(what: string, url: string): void {
  log.info({ url }, `ready: ${what}`);
  if (!config.production) process.stdout.write(`${what}: ${url}\n`);
}

function isShuttingDown(): boolean {
  return shuttingDown !== undefined;
}

async function shutDown(exitCode: number): Promise<void> {
  // A step that is still starting could not be stopped.
  await started;
  // Each step has its own limit, because the embedded Postgres is the last and must not be left running.
  for (const stop of undo.reverse()) {
    const limit = delay(STOP_LIMIT_MS, undefined, { ref: false }).then(() => {
      throw new Error(`not stopped within ${STOP_LIMIT_MS} ms`);
    });
    await Promise.race([stop(), limit]).catch((error: unknown) => {
      log.error({ err: error }, 'something did not stop');
    });
  }
  process.exit(exitCode);
}
