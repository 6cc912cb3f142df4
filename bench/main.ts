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

const USAGE = `Runs every benchmark on a Postgres of its own. Figures are ratios to a baseline that is measured in the same run.

    npm run bench
`;

if (process.argv.includes('--help')) {
  process.stdout.write(USAGE);
  process.exit();
}

const directory = await mkdtemp(join(tmpdir(), 'ring-account-linking-bench-'));
// As root, Postgres runs as another user, who needs to reach its data.
await chmod(directory, 0o711);
const postgres = await startEmbeddedPostgres({ dataDir: join(directory, 'postgres'), log: () => undefined });
try {
  await migrateToLatest(postgres.url);
  await benchTrouble(postgres.url);
  await benchMatch(postgres.url);
  await benchTokens(postgres.url);
  await benchFreshness(postgres.url, directory);
  await benchCrowd(postgres.url, directory);
  await benchWebhooks(postgres.url, directory);
} finally {
  await postgres.stop();
  await rm(directory, { recursive: true });
}
