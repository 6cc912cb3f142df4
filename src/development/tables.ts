import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SCHEMA_FILES } from '../configuration/paths.js';
import { migrateToLatest } from '../database/migrate.js';
import { startEmbeddedPostgres } from './embedded-postgres.js';
import { schemaFilesOf } from './schema.js';

const USAGE = `Writes migrations/schema.sql and src/database/tables.ts from a database that the migrations have just made. Run it after
a migration was added or changed.

    npm run tables
`;

if (process.argv.includes('--help')) {
  process.stdout.write(USAGE);
  process.exit();
}

const dataDir = await mkdtemp(join(tmpdir(), 'ring-account-linking-tables-'));
try {
  const postgres = await startEmbeddedPostgres({ dataDir, settings: { fsync: 'off' }, log: () => undefined });
  try {
    await migrateToLatest(postgres.url);
    const { sql, typescript } = await schemaFilesOf(postgres.url);
    await writeFile(SCHEMA_FILES.sql, sql);
    await writeFile(SCHEMA_FILES.typescript, typescript);
  } finally {
    await postgres.stop();
  }
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
