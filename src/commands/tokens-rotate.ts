import { parseArgs } from 'node:util';
import { readOwnConfig } from '../development/secrets.js';
import { resealUnderNewestKey } from '../tokens/key-rotation.js';
import { createVault } from '../tokens/vault.js';
import { CommandError, print, runDatabaseCommand } from './command.js';

const USAGE = `Seals every token under the first key of TOKEN_ENCRYPTION_KEYS, while the service runs. All instances must know that key
already: put it first, restart them, then run this; afterwards the other keys can go. Ends with 1 when something could not
be opened.

    npm run tokens:rotate
`;

const MAX_LISTED = 20;

await runDatabaseCommand(USAGE, async (db) => {
  parseArgs({ options: {} });
  const vault = createVault(readOwnConfig().encryptionKeys);
  const unreadable = await resealUnderNewestKey(db, vault, ({ resealed, left }) => {
    print(`${resealed} rows sealed under "${vault.newestKeyId}", ${left} left`);
  });
  if (unreadable.length === 0) {
    print(`Everything is sealed under "${vault.newestKeyId}".`);
    return;
  }
  const rows = unreadable.slice(0, MAX_LISTED).join(', ');
  throw new CommandError(
    `${unreadable.length} rows do not open with the keys in TOKEN_ENCRYPTION_KEYS (a key is missing or has other bytes, or the ` +
      `row was altered): ${rows}${unreadable.length > MAX_LISTED ? ', …' : ''}. Everything else is sealed anew.`,
  );
});
