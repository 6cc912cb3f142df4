import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findTests, type Lane, LANES, type TestFile } from './lanes.js';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const COMPILED = join(PROJECT, 'dist');
const JEST = fileURLToPath(import.meta.resolve('jest/bin/jest'));

/**
 * More workers than cores, where tests would leave cores idle: integration tests wait for Postgres, for Ring and for
 * processes.
 */
const WORKERS: Record<Lane, number> = { unit: 2, integration: 4, browser: 4 };

const USAGE = `usage: node dist/test/run.js [${LANES.join(' | ')}] [path of a test, or a part of it]...\n`;

/** The result of a part of a lane. */
interface Outcome {
  lane: Lane;
  passed: number;
  seconds: number;
  /** Each test that failed, or each file that could not even run. */
  failed: string[];
}

/** The part that is used of jest's `--json` report. */
interface Report {
  numPassedTests: number;
  testResults: {
    name: string;
    status: string;
    assertionResults: { status: string; fullName: string }[];
  }[];
}

/** Aborted by Ctrl-C, which jest receives too. No other lane begins then. */
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted.abort();
  });
}

process.exitCode = await run(process.argv.slice(2));

/** Runs all lanes, or one, or only some files of them. A lane that fails does not keep the next one from running. */
async function run(args: string[]): Promise<number> {
  const lane = LANES.find((name) => name === args[0]);
  const paths = lane === undefined ? args : args.slice(1);
  if (paths.some((path) => path.startsWith('-'))) {
    process.stdout.write(USAGE);
    return paths.includes('--help') ? 0 : 2;
  }
  const tests = chosen(findTests(COMPILED), lane, paths);
  if (typeof tests === 'string') {
    process.stderr.write(tests);
    return 2;
  }

  const outcomes: Outcome[] = [];
  for (const name of LANES) {
    const ofLane = tests.filter((test) => test.lane === name);
    for (const isAlone of [false, true]) {
      const part = ofLane.filter((test) => test.isAlone === isAlone);
      if (part.length > 0 && !interrupted.signal.aborted)
        outcomes.push(await runJest(name, part, isAlone ? 1 : WORKERS[name]));
    }
  }
  process.stdout.write(`\n${summary(outcomes)}`);
  return outcomes.every(({ failed }) => failed.length === 0) ? 0 : 1;
}

/** The tests that were asked for, or the fault in the request. A path stands for every file that contains it. */
function chosen(all: TestFile[], lane: Lane | undefined, paths: string[]): TestFile[] | string {
  const wanted = new Set<TestFile>();
  for (const path of paths) {
    const part = relative(PROJECT, path)
      .replace(/^dist\//, '')
      .replace(/\.[jt]s$/, '');
    const found = all.filter((test) => test.path.includes(part));
    if (found.length === 0) return `no test has "${part}" in its path\n`;
    const ofLane = found.filter((test) => lane === undefined || test.lane === lane);
    if (ofLane.length === 0)
      return `"${part}" is in the lane ${found[0]?.lane}: npm run test:${found[0]?.lane} -- ${path}\n`;
    for (const test of ofLane) wanted.add(test);
  }
  return paths.length === 0 ? all.filter((test) => lane === undefined || test.lane === lane) : [...wanted];
}

async function runJest(lane: Lane, tests: TestFile[], workers: number): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), 'test-report-'));
  const file = join(directory, 'report.json');
  const startedAt = performance.now();
  try {
    const jest = spawn(
      process.execPath,
      [
        '--experimental-vm-modules',
        '--disable-warning=ExperimentalWarning',
        JEST,
        `--maxWorkers=${workers}`,
        `--outputFile=${file}`,
        '--json',
        ...tests.map(({ path }) => `--testMatch=**/dist/${path}`),
      ],
      { cwd: PROJECT, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, TEST_LANE: lane } },
    );
    interrupted.signal.addEventListener('abort', () => jest.kill('SIGTERM'));
    const [code] = (await once(jest, 'close')) as [number | null];
    const failed = failuresOf(file, code);
    const seconds = (performance.now() - startedAt) / 1_000;
    return { lane, seconds, ...failed };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function failuresOf(file: string, code: number | null): Pick<Outcome, 'passed' | 'failed'> {
  let report: Report;
  try {
    report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  } catch {
    return { passed: 0, failed: [`jest itself, which ended with ${code}`] };
  }
  const failed = report.testResults.flatMap(({ name, status, assertionResults }) => {
    const path = relative(COMPILED, name).replace(/js$/, 'ts');
    const tests = assertionResults
      .filter((one) => one.status === 'failed')
      .map(({ fullName }) => `${path}: ${fullName}`);
    return tests.length === 0 && status === 'failed' ? [path] : tests;
  });
  if (code !== 0 && failed.length === 0) failed.push(`jest itself, which ended with ${code}`);
  return { passed: report.numPassedTests, failed };
}

function summary(outcomes: Outcome[]): string {
  const lanes = outcomes.map(({ lane, passed, seconds, failed }) => {
    const failures = failed.length === 0 ? '' : `, ${failed.length} FAILED`;
    return `${lane}: ${passed} passed${failures} in ${Math.round(seconds)} s`;
  });
  const failed = outcomes.flatMap((outcome) => outcome.failed);
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
  const total = `${passed} passed, ${failed.length} failed`;
  return [...lanes, ...failed.map((name) => `  failed: ${name}`), total, ''].join('\n');
}
