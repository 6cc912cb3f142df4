import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ENDPOINTS } from '../src/ring/endpoints.js';
import { routesOf } from './support/inspection/app-routes.js';
import { DOCUMENTS, namedInDocuments } from './support/inspection/documents.js';
import { scrape } from './support/inspection/metrics.js';
import { startWorld, type World } from './support/worlds/world.js';

let world: World;
let routes: string[];
beforeAll(async () => {
  world = await startWorld();
  routes = (await routesOf(world)).flatMap(({ path, methods }) => methods.map((method) => `${method} ${path}`));
});
afterAll(() => world.stop());

test('every route of the app stands in the table of the README, and no other does', () => {
  const [, section = ''] = /^## Routes\n(.*?)^## /ms.exec(DOCUMENTS.get('README.md') ?? '') ?? [];
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows.flatMap((row) => routesIn(row.split(' | ')[0] ?? '')).sort()).toEqual(routes.sort());
});

test('a route that a document names is one of the app, or an endpoint of Ring', () => {
  const known = new Set([...routes, ...ENDPOINTS]);
  const named = namedInDocuments(/`([A-Z]+(?:, [A-Z]+)* \/[^\s`]*)`/g);
  const unknown = named.filter(({ name }) => routesIn(`\`${name}\``).some((route) => !known.has(route)));
  expect(unknown).toEqual([]);
});

test('every metric of ours stands in the runbook, and one that a document names is in /metrics', async () => {
  const { text } = await scrape(world.url);
  const families = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type = '']) => ({ name, type }));
  const ours = families.map(({ name }) => name).filter((name) => name.startsWith('ring_link_'));
  expect(ours.length).toBeGreaterThan(30);
  const runbook = new Set(DOCUMENTS.get('ops/RUNBOOK.md')?.match(/\bring_link_\w+/g));
  expect(ours.filter((name) => !runbook.has(name))).toEqual([]);

  const series = families.flatMap(({ name, type }) =>
    type === 'histogram' ? [name, `${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  const named = namedInDocuments(/\b((?:ring_link|process|nodejs)_[a-z_]+[a-z])/g);
  expect(named.filter(({ name }) => !series.includes(name))).toEqual([]);
});

/** The routes in a cell of the table: `GET, POST /a` `/b`, where a path alone has the methods of the one before. */
function routesIn(cell: string): string[] {
  let methods: string[] = [];
  return [...cell.matchAll(/`(?:([A-Z]+(?:, [A-Z]+)*) )?(\/[^`]*)`/g)].flatMap(([, given, path = '']) => {
    methods = given?.split(', ') ?? methods;
    return methods.map((method) => `${method} ${path}`);
  });
}
