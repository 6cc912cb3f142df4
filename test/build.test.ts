import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { PROJECT } from './support/inspection/documents.js';

/** A project of one source file, with this project's build and compiler. */
let project: string;
const at = (path: string): string => join(project, path);
const build = () => spawnSync(process.execPath, [at('build.js')], { encoding: 'utf8', cwd: '/' });
const takeCompilerAway = () => {
  rmSync(at('node_modules'));
};

beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'build-'));
  for (const file of ['build.js', 'tsconfig.json', 'package.json']) {
    cpSync(fileURLToPath(new URL(file, PROJECT)), at(file));
  }
  symlinkSync(fileURLToPath(new URL('node_modules', PROJECT)), at('node_modules'));
  mkdirSync(at('src'));
  writeFileSync(at('src/one.ts'), 'export const one = 1;\n');
});
afterEach(() => {
  rmSync(project, { recursive: true });
});

test('compiled sources need no compiler, and sources edited since do', () => {
  expect(build()).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect(readFileSync(at('dist/src/one.js'), 'utf8')).toContain('one = 1');
  takeCompilerAway();
  expect(build().status).toBe(0);

  const soon = new Date(Date.now() + 1_000);
  utimesSync(at('src/one.ts'), soon, soon);
  expect(build().status).not.toBe(0);
});

test('an error of types is told on stderr, and again by the next build', () => {
  writeFileSync(at('src/one.ts'), "export const one: number = 'one';\n");
  for (const { status, stdout, stderr } of [build(), build()]) {
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain('TS2322');
  }
});

test('the compiled file of a deleted source is deleted too', () => {
  writeFileSync(at('src/two.ts'), 'export const two = 2;\n');
  build();
  rmSync(at('src/two.ts'));
  build();
  expect(['one', 'two'].map((name) => existsSync(at(`dist/src/${name}.js`)))).toEqual([true, false]);
});

test('an import of a deleted source is told, and again by the next build', () => {
  writeFileSync(at('src/two.ts'), 'export const two = 2;\n');
  writeFileSync(at('src/three.ts'), "import { two } from './two.js';\nexport const three = two + 1;\n");
  expect(build().status).toBe(0);
  rmSync(at('src/two.ts'));
  for (const { status, stderr } of [build(), build()]) {
    expect(status).toBe(2);
    expect(stderr).toContain('TS2307');
  }
});

test('without sources, as in a production image, there is nothing to do', () => {
  build();
  rmSync(at('src'), { recursive: true });
  takeCompilerAway();
  expect(build().status).toBe(0);
  expect(existsSync(at('dist/src/one.js'))).toBe(true);
});
