import { readFileSync } from 'node:fs';

/** The project folder. This file runs as `dist/test/support/inspection/documents.js`. */
export const PROJECT = new URL('../../../../', import.meta.url);

export const readProjectFile = (path: string): string => readFileSync(new URL(path, PROJECT), 'utf8');

/** The documents about the service, by path. */
export const DOCUMENTS: ReadonlyMap<string, string> = new Map(
  ['README.md', 'CONTRIBUTING.md', 'ops/RUNBOOK.md'].map((path) => [path, readProjectFile(path)]),
);

/** Every match of the pattern's first group in any document, with the document's path for the message of a failed test. */
export function namedInDocuments(pattern: RegExp): { name: string; path: string }[] {
  return [...DOCUMENTS].flatMap(([path, text]) => [...text.matchAll(pattern)].map(([, name = '']) => ({ name, path })));
}
