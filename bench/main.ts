import { mkdtemp, rm, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrateToLatest } from '../src/database/migrate.js';
import { startEmbeddedPostgres } from '../src/development/embedded-postgres.js';
import { benchCrowd } from './crowd.js';
import { benchFreshness } from './freshness.js';
import { benchMatch } from './match.js';
import { benchTokens } from './tokens.js';
import { benchTrouble } from './trouble.js';
import { benchWebhooks } from './webhooks.js';

const USAGE = `Runs every benchmark, or those that are named, on a Postgres of its own. Figures are ratios to a baseline that is
measured in the same run.

    npm run bench
    npm run bench -- webhooks
`;

type Bench = (databaseUrl: string, directory: string) => Promise<void>;

const BENCHES = new Map<string, Bench>([
  ['trouble', benchTrouble],
  ['match', benchMatch],
  ['tokens', benchTokens],
  ['freshness', benchFreshness],
  ['crowd', benchCrowd],
  ['webhooks', benchWebhooks],
]);

if (process.argv.includes('--help')) {
  process.stdout.write(USAGE);
  process.exit();
}

const names = process.argv.slice(2);
const unknown = names.find((name) => !BENCHES.has(name));
if (unknown !== undefined) {
  process.stderr.write(`expected some of: ${[...BENCHES.keys()].join(', ')}\n`);
  process.exit(1);
}

const directory = await mkdtemp(join(tmpdir(), 'ring-account-linking-bench-'));
// As root, Postgres runs as another user, who needs to reach its data.
await chmod(directory, 0o711);
const postgres = await startEmbeddedPostgres({ dataDir: join(directory, 'postgres'), log: () => undefined });
try {
  await migrateToLatest(postgres.url);
  for (const [name, bench] of BENCHES) {
    if (names.length === 0 || names.includes(name)) await bench(postgres.url, directory);
  }
} finally {
  await postgres.stop();
  await rm(directory, { recursive: true });
}
