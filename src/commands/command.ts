import pg from 'pg';
import { isProduction } from '../configuration/config.js';
import { DATA_DIR } from '../configuration/paths.js';
import { useUtc } from '../database/use-utc.js';
import { urlOfRunningPostgres } from '../development/embedded-postgres.js';

/** An error in words for the person who typed the command. */
export class CommandError extends Error {}

/**
 * Runs a command line against the service's database, and ends with 1 and one line when it can't.
 * @param usage printed for `--help`, for which nothing else is needed
 */
export async function runCommand(usage: string, run: (client: pg.Client) => Promise<void>): Promise<void> {
  // The reader of the lines, such as `head`, may close the pipe before the end.
  process.stdout.once('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
  if (process.argv.includes('--help')) {
    process.stdout.write(usage);
    return;
  }
  try {
    const client = new pg.Client({ connectionString: await databaseUrl(), connectionTimeoutMillis: 10_000 });
    // A connection that is lost fails the statement that is under way, too.
    client.on('error', () => undefined);
    await client.connect();
    try {
      await useUtc(client);
      await run(client);
    } finally {
      await client.end();
    }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

/** DATABASE_URL, or outside production the embedded Postgres of a running `npm start`. */
async function databaseUrl(): Promise<string> {
  if (process.env.DATABASE_URL) return process.env.DATABASE_URL;
  const url = isProduction(process.env) ? undefined : await urlOfRunningPostgres(`${DATA_DIR}postgres`);
  if (!url) throw new CommandError('DATABASE_URL: missing; expected the service’s, or a running `npm start`');
  return url;
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
