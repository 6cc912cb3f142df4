import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { format } from 'prettier';
import { redirectOf, signedIn } from '../support/features/linking.js';
import { type Scrape, scrape } from '../support/inspection/metrics.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

const execute = promisify(execFile);

/** The path from dist/test/operations. */
const OPS_DIR = new URL('../../../ops/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, OPS_DIR), 'utf8');

const ALERTS = read('alerts.yml');
const ALERT_TESTS = read('alerts.test.yml');
const RUNBOOK = read('RUNBOOK.md');

/** The parts of an alert that can be read line by line. promtool reads the rest where it is installed. */
interface Alert {
  name: string;
  text: string;
}

const alerts: Alert[] = ALERTS.split(/^ +- alert: /m)
  .slice(1)
  .map((text) => ({ name: text.split('\n', 1)[0] ?? '', text }));

interface Dashboard {
  panels: { title: string; targets?: { expr: string }[] }[];
}

const dashboard = JSON.parse(read('dashboard.json')) as Dashboard;

const HAS_PROMTOOL = spawnSync('promtool', ['--version']).status === 0;

describe.each(['alerts.yml', 'alerts.test.yml', 'prometheus.yml', 'grafana/datasources.yml', 'grafana/dashboards.yml'])(
  '%s',
  (name) => {
    test('is YAML', async () => {
      await expect(format(read(name), { parser: 'yaml' })).resolves.toBeTruthy();
    });
  },
);

describe('the alerts', () => {
  test('have names of their own', () => {
    expect(alerts.length).toBeGreaterThan(20);
    expect(new Set(alerts.map(({ name }) => name)).size).toBe(alerts.length);
  });

  test.each(alerts)('$name says how bad it is, what happens, what to do and where to read on', ({ name, text }) => {
    expect(text).toMatch(/^ +expr: \|$/m);
    expect(text).toMatch(/^ +severity: (critical|warning)$/m);
    expect(text).toMatch(/^ +summary: '.+'$/m);
    expect(text).toMatch(/^ +action: '.+\.'$/m);
    expect(text).toContain(`runbook: ops/RUNBOOK.md#${name.toLowerCase()}\n`);
    expect(RUNBOOK).toContain(`\n### ${name}\n`);
  });

  test.each(alerts)('$name is tested', ({ name }) => {
    expect(ALERT_TESTS).toContain(`alertname="${name}"`);
  });

  test('are all that the runbook has sections for', () => {
    const sections = [...RUNBOOK.matchAll(/^### (RingLink\w+)$/gm)].map(([, name]) => name);
    expect(sections).toEqual(alerts.map(({ name }) => name));
  });
});

(HAS_PROMTOOL ? describe : describe.skip)('promtool', () => {
  const promtool = (...args: string[]) => execute('promtool', args, { cwd: OPS_DIR });

  test('takes the rules', () => promtool('check', 'rules', 'alerts.yml'));
  test('sees each alert fire when it should', () => promtool('test', 'rules', 'alerts.test.yml'));
  test('understands every query of the dashboard', async () => {
    const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    const rules = queries.map((expr, index) => ({ record: `query:${index}`, expr }));
    const directory = await mkdtemp(join(tmpdir(), 'dashboard-'));
    try {
      // JSON is valid YAML.
      await writeFile(join(directory, 'queries.yml'), JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
      await promtool('check', 'rules', join(directory, 'queries.yml'));
    } finally {
      await rm(directory, { recursive: true });
    }
  });
  test('takes the configuration', () => promtool('check', 'config', '--syntax-only', 'prometheus.yml'));
});

describe('every metric that is named in', () => {
  let world: World;
  let found: Scrape;
  beforeAll(async () => {
    world = await startWorld();
    // A process has no series for what it has not seen yet: so one call to Ring with its limit, one attempt to link,
    // one run of a task.
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 429 } }]);
    const ringUser = await world.ring.createUser();
    await world.ring.install(ringUser);
    const visitor = await signedIn(world);
    const { nonce, time } = await redirectOf(world, ringUser);
    await visitor.open(`/ring/link?nonce=${nonce}&time=${time}`);
    await visitor.submit('/ring/link');
    // One periodic task runs every five seconds.
    await until('a periodic task has run', async () =>
      (await scrape(world.url)).names().has('ring_link_clock_ticks_total'),
    );
    found = await scrape(world.url);
  });
  afterAll(() => world.stop());

  const metricsIn = (expression: string): string[] =>
    [...expression.matchAll(/\b(?:ring_link|nodejs|process)_\w+/g)].map(([name]) => name);
  const missing = (expressions: string[]): string[] => {
    const names = found.names();
    return [...new Set(expressions.flatMap(metricsIn))].filter((name) => !names.has(name));
  };

  test('an alert is in /metrics', () => {
    expect(metricsIn(ALERTS).length).toBeGreaterThan(25);
    expect(missing(alerts.map(({ text }) => text))).toEqual([]);
  });

  test('a test of an alert is in /metrics', () => {
    expect(missing([ALERT_TESTS])).toEqual([]);
  });

  test('the dashboard is in /metrics', () => {
    const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(expressions.length).toBeGreaterThan(30);
    expect(missing(expressions)).toEqual([]);
  });

  (HAS_PROMTOOL ? test : test.skip)('and promtool has nothing against the form of /metrics', () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: found.text });
    // The names of prom-client's own metrics are not our choice.
    const complaints = `${stdout.toString()}${stderr.toString()}`
      .split('\n')
      .filter((line) => /ring_link|error/.test(line));
    expect({ complaints, status: status === 0 || status === 3 }).toEqual({ complaints: [], status: true });
  });
});
