import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** The order in which they run: what is fast and shows most comes first. */
export const LANES = ['unit', 'integration', 'browser'] as const;
export type Lane = (typeof LANES)[number];

/**
 * What each lane needs is what its tests import, over any number of files: this decides, so no test can be in the wrong
 * lane, or in none. Whatever has neither is a unit test.
 */
const NEEDS: readonly [lane: Lane, file: string][] = [
  ['browser', 'test/support/browser.js'],
  ['integration', 'src/development/embedded-postgres.js'],
];

/**
 * Tests that take the machine to themselves, one after the other, when the rest of their lane has ended: they send as much
 * as it can take, so that others beside them would wait, or they fill what all share.
 */
const ALONE: readonly string[] = [
  'test/operations/rolling-restart.test.js',
  'test/webhooks/chaos.test.js',
  'test/inbox/kill.test.js',
];

const IMPORT = /(?:\bfrom\s|^import\s|\bimport\()\s*'(\.[^']+)'/gm;

/** A compiled test, by its path below `dist`. */
export interface TestFile {
  path: string;
  lane: Lane;
  isAlone: boolean;
}

/** @param root the folder of what was compiled */
export function findTests(root: string): TestFile[] {
  const paths = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.js'))
    .map((path) => join('test', path))
    .sort();
  const unknown = ALONE.filter((path) => !paths.includes(path));
  if (unknown.length > 0) throw new Error(`test/lanes.ts names tests that are not there: ${unknown.join(', ')}`);
  return paths.map((path) => ({ path, lane: laneOf(root, path), isAlone: ALONE.includes(path) }));
}

function laneOf(root: string, path: string): Lane {
  const imported = filesBehind(resolve(root, path));
  return NEEDS.find(([, file]) => imported.has(resolve(root, file)))?.[0] ?? 'unit';
}

/** A file and whatever of ours it imports, directly or not. */
function filesBehind(entry: string): Set<string> {
  const found = new Set([entry]);
  // A set gives out what is added to it on the way, too.
  for (const file of found) {
    for (const [, specifier = ''] of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      const imported = resolve(dirname(file), specifier);
      // A test may have the text of some other file in it.
      if (existsSync(imported)) found.add(imported);
    }
  }
  return found;
}
