/**
 * Compiles when a source is newer than the last build or has gone since, and otherwise ends at once: every npm command runs
 * this first, and `tsc` alone takes seconds to find that nothing has changed. A production image has no sources, so there is
 * nothing to do.
 *
 * Output whose source has gone is deleted, or Jest and Knex would go on running renamed tests and removed migrations. It is
 * compiled again then, because another source may still import what has gone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import process from 'node:process';

process.chdir(import.meta.dirname);

const ROOTS = ['src', 'migrations', 'test', 'bench'];
const SETTINGS = ['build.js', 'tsconfig.json', 'package.json', 'node_modules/.package-lock.json'];
/** Written when a build begins and renamed when it has succeeded, so that an edit during a build counts as newer. */
const BEGUN = 'dist/.build-begun';
const BUILT = 'dist/.built';

if (existsSync('src')) {
  deleteOrphans();
  if (!isUpToDate()) compile();
}

function deleteOrphans() {
  const orphans = filesIn('dist', '.js').filter((output) => !existsSync(sourceOf(output)));
  // First of all, so that a build that is broken off or fails now is not taken for the last one.
  if (orphans.length > 0) rmSync(BUILT, { force: true });
  for (const output of orphans) for (const file of [output, `${output}.map`]) rmSync(file, { force: true });
}

function sourceOf(output) {
  return output.replace(/^dist\//, '').replace(/\.js$/, '.ts');
}

function isUpToDate() {
  if (!existsSync(BUILT)) return false;
  const builtAt = statSync(BUILT).mtimeMs;
  const isOlder = (file) => statSync(file).mtimeMs < builtAt;
  const isBuilt = (source) => isOlder(source) && existsSync(`dist/${source.replace(/\.ts$/, '.js')}`);
  return SETTINGS.filter(existsSync).every(isOlder) && filesIn('.', '.ts').every(isBuilt);
}

function compile() {
  mkdirSync('dist', { recursive: true });
  writeFileSync(BEGUN, '');
  // To stderr, for stdout belongs to the command that comes next.
  const tsc = [process.execPath, ['node_modules/typescript/bin/tsc', '--project', 'tsconfig.json']];
  const { status } = spawnSync(...tsc, { stdio: ['ignore', 2, 2] });
  if (status === 0) renameSync(BEGUN, BUILT);
  else process.exitCode = status ?? 1;
}

/** Paths below `base`, which mirrors the project, of the files that end so. */
function filesIn(base, ending) {
  return ROOTS.map((root) => (base === '.' ? root : `${base}/${root}`))
    .filter((directory) => existsSync(directory))
    .flatMap((directory) => readdirSync(directory, { recursive: true }).map((name) => `${directory}/${name}`))
    .filter((path) => path.endsWith(ending));
}
