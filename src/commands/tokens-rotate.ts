/**
 * Seals every token under the first key of TOKEN_ENCRYPTION_KEYS, while the service runs. All instances must know that key
 * already: put it first, restart them, then run this; afterwards the other keys can go.
 *
 *     npm run tokens:rotate
 */
import { readConfiguration } from '../configuration.js';
import { resealUnderNewestKey } from '../tokens/key-rotation.js';
import { createVault } from '../tokens/vault.js';
import { print, runCommand } from './command.js';

await runCommand(async (client) => {
  const vault = createVault(readConfiguration().encryptionKeys);
  await resealUnderNewestKey(client, vault, (done, left) => {
    print(`${done} rows sealed under "${vault.newestKeyId}", ${left} left`);
  });
});
