import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { environmentSchema, isProduction } from '../configuration/config.js';
import { opaque } from '../ring/text.js';
import { createAnonymizer } from '../ring-check/anonymous.js';
import { checkRing } from '../ring-check/check.js';
import { fits, reportText } from '../ring-check/report.js';
import { CommandError, print, runCommand } from './command.js';

const USAGE = `Holds this service against the real Ring: asks everything that can be read, reads the answers as the service does, and prints
what fits, what was not understood, and what Ring does not offer to the token. It prints paths and types, and no values.

    npm run ring:check
    npm run ring:check -- --record answers

The variable RING_PLAYGROUND_TOKEN holds a token of the Playground in Ring's developer console, where it lives 30 minutes. RING_API_URL is
asked, or https://api.amazonvision.com. --record keeps the answers in a new or empty folder as JSON, without identifiers and
without anything personal. Nothing is changed at Ring.

Ends with 0 when everything that was answered fits, with 1 when something does not or nothing was answered, and with 2 without a
token that Ring takes, or for an option that is not one of these.
`;

const CANNOT_RUN = 2;
const WHERE_FROM = 'expected a token of the Playground in Ring’s developer console, where it lives 30 minutes';

await runCommand(USAGE, async () => {
  const folder = recordFolder();
  const token = playgroundToken();
  const apiUrl = ringApiUrl();
  const report = await checkRing({
    apiUrl,
    token,
    now: Date.now,
    pause: delay,
    ...(folder !== undefined && { record: recorderInto(folder) }),
  });
  if (report.isTokenRefused) {
    throw new CommandError(`RING_PLAYGROUND_TOKEN: Ring does not take it; ${WHERE_FROM}`, CANNOT_RUN);
  }
  print(`${new URL(apiUrl).origin}\n`);
  print(reportText(report));
  if (!fits(report)) process.exitCode = 1;
});

/** Arguments are not repeated, because a token may be among them by mistake. */
function recordFolder(): string | undefined {
  let record: string | undefined;
  try {
    ({ record } = parseArgs({ options: { record: { type: 'string' } } }).values);
  } catch {
    throw new CommandError('expected no argument, or --record and a folder', CANNOT_RUN);
  }
  if (record === '') throw new CommandError('--record: expected a folder', CANNOT_RUN);
  return record;
}

function playgroundToken(): string {
  const given = process.env.RING_PLAYGROUND_TOKEN?.trim() ?? '';
  if (given === '') throw new CommandError(`RING_PLAYGROUND_TOKEN: missing; ${WHERE_FROM}`, CANNOT_RUN);
  if (!opaque(8_192).safeParse(given).success) {
    throw new CommandError(`RING_PLAYGROUND_TOKEN: ${WHERE_FROM}`, CANNOT_RUN);
  }
  return given;
}

function ringApiUrl(): string {
  const { RING_API_URL: schema } = environmentSchema(isProduction(process.env), undefined).shape;
  const parsed = schema.safeParse(process.env.RING_API_URL === '' ? undefined : process.env.RING_API_URL);
  if (parsed.success) return parsed.data;
  throw new CommandError(`RING_API_URL: ${parsed.error.issues[0]?.message ?? ''}`, CANNOT_RUN);
}

/** @throws {CommandError} when the folder can't be one of records alone */
function recorderInto(folder: string): (name: string, answer: unknown) => void {
  try {
    mkdirSync(folder, { recursive: true });
    if (readdirSync(folder).length > 0) throw new CommandError('--record: the folder is not empty', CANNOT_RUN);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError('--record: expected a folder that can be written', CANNOT_RUN);
  }
  const anonymize = createAnonymizer();
  return (name, answer) => {
    writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(anonymize(answer), null, 2)}\n`, { flag: 'wx' });
  };
}
