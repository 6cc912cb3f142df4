import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrateToLatest } from '../../../src/database/migrate.js';
import { startEmbeddedPostgres } from '../../../src/development/embedded-postgres.js';
import { inflateChromium } from '../clients/browser.js';
import {
  clusterTemplate,
  copyCluster,
  databaseUrl,
  query,
  TEMPLATE_DATABASE,
  TEST_SETTINGS,
} from '../worlds/postgres.js';
import { measureSlowness } from './speed.js';

/**
 * The data is thrown away, so nothing waits for the disk. Everything else is as in production: commits are visible,
 * locks lock, constraints hold.
 */
const SHARED = {
  settings: { ...TEST_SETTINGS, fsync: 'off', full_page_writes: 'off', max_connections: '300' },
  log: () => undefined,
};

let stopPostgres = () => Promise.resolve();

/**
 * Prepares what the tests of the lane share, once for each run of jest, before the workers start. Without a lane, as by
 * `npx jest`, it prepares everything.
 */
export default async function globalSetup(): Promise<void> {
  // Workers inherit the environment.
  process.env.TEST_SLOWNESS = `${await measureSlowness()}`;
  const lane = process.env.TEST_LANE;
  if (lane === 'unit') return;
  await Promise.all([startSharedPostgres(), lane !== 'integration' && inflateChromium()]);
}

/** Stops it in the global teardown, global-teardown.ts. */
export async function stopSharedPostgres(): Promise<void> {
  await stopPostgres();
}

/** Starts one Postgres with a migrated database to copy. Keeps its files from before it started, to copy too. */
async function startSharedPostgres(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'ring-account-linking-'));
  leaveNothingBehind(directory);
  // As root, Postgres runs as another user, who needs to reach its data.
  await chmod(directory, 0o711);
  process.env.TEST_DIRECTORY = directory;

  const template = await startEmbeddedPostgres({ ...SHARED, dataDir: clusterTemplate() });
  await migrateToLatest(template.url);
  await template.stop();
  const dataDir = join(directory, 'shared');
  await copyCluster(dataDir);
  const postgres = await startEmbeddedPostgres({ ...SHARED, dataDir });
  stopPostgres = () => postgres.stop();
  await query(
    databaseUrl(postgres.url, 'postgres'),
    `ALTER DATABASE ${TEMPLATE_DATABASE} IS_TEMPLATE true ALLOW_CONNECTIONS false`,
  );
  process.env.TEST_POSTGRES_URL = databaseUrl(postgres.url, 'postgres');
}

/**
 * However this run ends (a failed setup, Ctrl-C, a worker that died with a Postgres of its own), no Postgres below
 * `directory` outlives it. The exit event is the one way that all ends share, but its handler can't wait.
 */
function leaveNothingBehind(directory: string): void {
  process.once('exit', () => {
    for (const name of readdirSync(directory)) killPostgres(join(directory, name, 'cluster', 'data', 'postmaster.pid'));
    rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => process.exit(status));
  }
}

function killPostgres(pidFile: string): void {
  try {
    process.kill(Number.parseInt(readFileSync(pidFile, 'utf8'), 10), 'SIGQUIT');
  } catch {
    // There is no file, or no such process: it has stopped already.
  }
}
