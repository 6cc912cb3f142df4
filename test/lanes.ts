import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** The order in which the lanes run: the fastest and most telling first. */
export const LANES = ['unit', 'integration', 'browser'] as const;
export type Lane = (typeof LANES)[number];

/**
 * A file that a test imports, over any number of steps, decides on the lane. So no test can be in the wrong lane, or in
 * none. A test that imports none of these is a unit test.
 */
const NEEDS: readonly [lane: Lane, file: string][] = [
  ['browser', 'test/support/clients/browser.js'],
  ['integration', 'src/development/embedded-postgres.js'],
];

/**
 * Tests that have the machine to themselves, one after the other, when the rest of their lane has ended. They load it
 * fully, so that others beside them would wait.
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

/** @param root the folder of the compiled files */
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

/** A file and all files of ours that it imports, directly or not. */
function filesBehind(entry: string): Set<string> {
  const found = new Set([entry]);
  // A set also yields what is added to it during the iteration.
  for (const file of found) {
    for (const [, specifier = ''] of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      const imported = resolve(dirname(file), specifier);
      // A test may contain the text of another file.
      if (existsSync(imported)) found.add(imported);
    }
  }
  return found;
}
