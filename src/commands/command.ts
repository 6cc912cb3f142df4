import type { Knex } from 'knex';
import { isProduction } from '../configuration/config.js';
import { type DatabaseAddress, DatabaseUrlError, readDatabaseUrl } from '../configuration/database-url.js';
import { cleanValue } from '../configuration/given.js';
import { DATA_DIR } from '../configuration/paths.js';
import { openKnex } from '../database/database.js';
import { urlOfRunningPostgres } from '../development/embedded-postgres.js';

const CONNECT_TIMEOUT_MS = 10_000;

/** An error in words for the person who typed the command. */
export class CommandError extends Error {
  constructor(
    message: string,
    readonly exitCode = 1,
  ) {
    super(message);
  }
}

/**
 * Runs a command line, and ends with 1 or the error's own code and one line when it can't.
 * @param usage printed for `--help`, for which nothing else is needed
 */
export async function runCommand(usage: string, run: () => Promise<void>): Promise<void> {
  // The reader of the lines, such as `head`, may close the pipe before the end.
  process.stdout.once('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
  if (process.argv.includes('--help')) {
    process.stdout.write(usage);
    return;
  }
  try {
    await run();
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exitCode = error instanceof CommandError ? error.exitCode : 1;
  }
}

/** Runs a command line against the service's database. */
export function runDatabaseCommand(usage: string, run: (db: Knex) => Promise<void>): Promise<void> {
  return runCommand(usage, async () => {
    const db = openKnex(
      { ...(await databaseAddress()), connectionTimeoutMillis: CONNECT_TIMEOUT_MS },
      { max: 1, timeoutMs: CONNECT_TIMEOUT_MS, log: { debug: () => undefined } },
    );
    try {
      await run(db);
    } finally {
      await db.destroy();
    }
  });
}

/** The message for the person who typed the command, without the statement that Knex puts in front of Postgres' own. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof CommandError ? error.message : (error.message.split(' - ').at(-1) ?? '');
}

/** That of DATABASE_URL, or outside production of the embedded Postgres of a running `npm start`. */
async function databaseAddress(): Promise<DatabaseAddress> {
  const given = cleanValue(process.env.DATABASE_URL ?? '');
  const isOwn = given === '' && !isProduction(process.env);
  const url = isOwn ? await urlOfRunningPostgres(`${DATA_DIR}postgres`) : given;
  if (!url) throw new CommandError('DATABASE_URL: missing; expected the service’s, or a running `npm start`');
  try {
    return readDatabaseUrl(url);
  } catch (error) {
    if (error instanceof DatabaseUrlError) throw new CommandError(`DATABASE_URL: ${error.message}`);
    throw error;
  }
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
