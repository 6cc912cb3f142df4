import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import knex, { type Knex } from 'knex';
import { SCHEMA_FILES } from '../../src/configuration/paths.js';
import { row, rows, run, sql } from '../../src/database/sql.js';
import { schemaFilesOf } from '../../src/development/schema.js';
import { createTestDatabase, type TestDatabase } from '../support/worlds/postgres.js';

let database: TestDatabase;
let db: Knex;
beforeAll(async () => {
  database = await createTestDatabase();
  db = knex({ client: 'pg', connection: database.url, pool: { min: 0, max: 1 } });
});
afterAll(async () => {
  await db.destroy();
  await database.drop();
});

describe('the schema that is written down is the one that the migrations make (else: npm run tables)', () => {
  test.each([
    ['migrations/schema.sql', 'sql'],
    ['src/database/tables.ts', 'typescript'],
  ] as const)('%s', async (_file, part) => {
    const described = await schemaFilesOf(database.url);
    expect(described[part]).toBe(await readFile(SCHEMA_FILES[part], 'utf8'));
  });

  test('it names every table, column and index of ours', async () => {
    const names = await rows<{ name: string }>(
      db,
      sql`SELECT relname AS name FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') AND relname NOT LIKE 'knex%'
          UNION SELECT column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND table_name NOT LIKE 'knex%'`,
    );
    expect(names.length).toBeGreaterThan(100);
    const text = await readFile(SCHEMA_FILES.sql, 'utf8');
    expect(names.filter(({ name }) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([]);
  });
});

describe('a statement that Knex runs', () => {
  test('gives its rows, the first of them, or how many it touched', async () => {
    const values = sql`SELECT * FROM generate_series(1, ${3}) AS n WHERE n > ${1}`;
    expect(await rows(db, values)).toEqual([{ n: 2 }, { n: 3 }]);
    expect(await row(db, values)).toEqual({ n: 2 });
    expect(await row(db, sql`SELECT 1 WHERE ${false}`)).toBeUndefined();
    const now = new Date();
    expect(
      await run(db, sql`INSERT INTO job_runners (pool_id, seen_at) VALUES (${'a'}, ${now}), (${'b'}, ${now})`),
    ).toBe(2);
  });

  test('may hold question marks, lists and json', async () => {
    const found = await row(
      db,
      sql`SELECT '{"a": 1}'::jsonb ? ${'a'} AS has, ${'b?'} = ANY (${['a?', 'b?']}::text[]) AS is`,
    );
    expect(found).toEqual({ has: true, is: true });
  });
});
