/**
 * Prints the archive of removed devices and links and of deleted accounts, oldest first, one JSON object a line.
 *
 *     npm run --silent audit:export [-- --since 2026-01-31] > removals.jsonl
 */
import { parseArgs } from 'node:util';
import Cursor from 'pg-cursor';
import { CommandError, print, runCommand } from './command.js';

const ROWS_AT_ONCE = 500;

await runCommand(async (client) => {
  const { since } = parseArgs({ options: { since: { type: 'string' } } }).values;
  const from = new Date(since ?? 0);
  if (Number.isNaN(from.getTime())) throw new CommandError('--since: expected a date such as 2026-01-31');
  const query = `SELECT to_jsonb(audit_archive)::text AS line FROM audit_archive WHERE archived_at >= $1 ORDER BY archived_at, id`;
  const cursor = client.query(new Cursor<{ line: string }>(query, [from]));
  for (;;) {
    const rows = await cursor.read(ROWS_AT_ONCE);
    if (rows.length === 0) break;
    for (const { line } of rows) print(line);
  }
});
