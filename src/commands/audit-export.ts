import { parseArgs } from 'node:util';
import Cursor from 'pg-cursor';
import { z } from 'zod';
import { isoTime } from '../ring/text.js';
import { CommandError, print, runCommand } from './command.js';

const USAGE = `Prints the archive of removed devices and links and of deleted accounts, oldest first, one JSON object a line.

    npm run --silent audit:export > removals.jsonl
    npm run --silent audit:export -- --since 2026-01-31 > removals.jsonl

--since is a day, which begins in UTC wherever this runs, or a time that names its zone: 2026-01-31T09:00+09:00.
`;

const ROWS_AT_ONCE = 500;
const Since = z.union([z.iso.date().transform((day) => new Date(`${day}T00:00:00Z`)), isoTime]).default(new Date(0));

await runCommand(USAGE, async (client) => {
  const { since } = parseArgs({ options: { since: { type: 'string' } } }).values;
  const from = Since.safeParse(since);
  if (!from.success) {
    throw new CommandError(
      '--since: expected a day such as 2026-01-31 (in UTC), or a time with its zone such as 2026-01-31T09:00+09:00',
    );
  }
  const query = `SELECT to_jsonb(audit_archive)::text AS line FROM audit_archive WHERE archived_at >= $1 ORDER BY archived_at, id`;
  const cursor = client.query(new Cursor<{ line: string }>(query, [from.data]));
  for (;;) {
    const rows = await cursor.read(ROWS_AT_ONCE);
    if (rows.length === 0) break;
    for (const { line } of rows) print(line);
  }
});
