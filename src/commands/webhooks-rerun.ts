/**
 * Lists the webhook events that have failed for good, or has them applied again: all, or those with the given request IDs.
 *
 *     npm run webhooks:rerun
 *     npm run webhooks:rerun -- --all
 *     npm run webhooks:rerun -- 0b8c1f1e-…
 */
import { parseArgs } from 'node:util';
import { failedEvents, rerunFailed } from '../webhooks/rerun.js';
import { print, runCommand } from './command.js';

await runCommand(async (client) => {
  const { values, positionals } = parseArgs({ options: { all: { type: 'boolean' } }, allowPositionals: true });
  if (values.all === true || positionals.length > 0) {
    const rerun = await rerunFailed(client, values.all === true ? 'all' : positionals);
    print(`${rerun} failed events are applied again.`);
    return;
  }
  const failed = await failedEvents(client);
  for (const event of failed) print(JSON.stringify(event));
  print(failed.length === 0 ? 'No event has failed.' : 'Run again with --all, or with the request IDs of some.');
});
