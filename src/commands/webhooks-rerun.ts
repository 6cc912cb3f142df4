import { parseArgs } from 'node:util';
import { z } from 'zod';
import { failedEvents, rerunFailed } from '../inbox/rerun.js';
import { CommandError, print, runDatabaseCommand } from './command.js';

const USAGE = `Lists the webhook events that have failed for good, or has them applied again: all, or those with the given request IDs.

    npm run webhooks:rerun
    npm run webhooks:rerun -- --all
    npm run webhooks:rerun -- 0b8c1f1e-…
`;

await runDatabaseCommand(USAGE, async (db) => {
  const { values, positionals } = parseArgs({ options: { all: { type: 'boolean' } }, allowPositionals: true });
  const bad = positionals.find((id) => !z.guid().safeParse(id).success);
  if (bad !== undefined)
    throw new CommandError('expected --all, or request IDs (UUIDs) as the list without them shows');
  if (values.all === true || positionals.length > 0) {
    const rerun = await rerunFailed(db, values.all === true ? 'all' : positionals);
    print(`${rerun} failed ${rerun === 1 ? 'event' : 'events'} put back into the inbox.`);
    return;
  }
  const failed = await failedEvents(db);
  for (const event of failed) print(JSON.stringify(event));
  print(failed.length === 0 ? 'No event has failed.' : 'Run again with --all, or with the request IDs of some.');
});
