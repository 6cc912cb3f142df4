import { fileURLToPath } from 'node:url';

/** The project's root: this file runs as `dist/src/configuration/paths.js`. */
const ROOT = new URL('../../../', import.meta.url);

export const VIEWS_DIR = fileURLToPath(new URL('views/', ROOT));
export const ASSETS_DIR = fileURLToPath(new URL('views/assets/', ROOT));
export const MIGRATIONS_DIR = fileURLToPath(new URL('dist/migrations/', ROOT));
export const DATA_DIR = fileURLToPath(new URL('.data/', ROOT));
/** The files that `npm run tables` writes. */
export const SCHEMA_FILES = {
  sql: fileURLToPath(new URL('migrations/schema.sql', ROOT)),
  typescript: fileURLToPath(new URL('src/database/tables.ts', ROOT)),
};
