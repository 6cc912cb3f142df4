import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VIEWS_DIR } from '../../../src/configuration/paths.js';

/** The text of each template by its name: `home`, `partials/icon`. */
export const readTemplates = (): Map<string, string> =>
  new Map(
    readdirSync(VIEWS_DIR, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ejs'))
      .map((file) => [file.slice(0, -'.ejs'.length), readFileSync(join(VIEWS_DIR, file), 'utf8')]),
  );
