import { parseArgs } from 'node:util';
import { z } from 'zod';
import { rows, run, sql } from '../database/sql.js';
import { isoTime } from '../ring/text.js';
import { CommandError, print, runDatabaseCommand } from './command.js';

const USAGE = `Prints the archive of removed devices and links and of deleted accounts, oldest first, one JSON object a line.

    npm run --silent audit:export > removals.jsonl
    npm run --silent audit:export -- --since 2026-01-31 > removals.jsonl

--since is a day, which begins in UTC wherever this runs, or a time that names its zone: 2026-01-31T09:00+09:00.
`;

const Since = z.union([z.iso.date().transform((day) => new Date(`${day}T00:00:00Z`)), isoTime]).default(new Date(0));

await runDatabaseCommand(USAGE, async (db) => {
  const { since } = parseArgs({ options: { since: { type: 'string' } } }).values;
  const from = Since.safeParse(since);
  if (!from.success) {
    throw new CommandError(
      '--since: expected a day such as 2026-01-31 (in UTC), or a time with its zone such as 2026-01-31T09:00+09:00',
    );
  }
  await db.transaction(async (trx) => {
    await run(
      trx,
      sql`DECLARE removals NO SCROLL CURSOR FOR
          SELECT to_jsonb(audit_archive)::text AS line FROM audit_archive
           WHERE archived_at >= ${from.data} ORDER BY archived_at, id`,
    );
    for (;;) {
      const lines = await rows<{ line: string }>(trx, sql`FETCH 500 FROM removals`);
      if (lines.length === 0) break;
      for (const { line } of lines) print(line);
    }
  });
});
