import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ASSETS_DIR } from '../../src/configuration/paths.js';

const css = readFileSync(join(ASSETS_DIR, 'style.css'), 'utf8').replaceAll(/\/\*.*?\*\//gs, '');

/** All declarations `name: value`, in order. */
const declarations = [...css.matchAll(/^ +([\w-]+):\s([^;{}]+);/gm)].map(([, name = '', value = '']) => ({
  name,
  value,
}));

const HAS_SCALE =
  /^(margin|padding|scroll-margin|gap|row-gap|column-gap|inset|top|right|bottom|left|border-radius|font)\b/;

test('distances, corners and sizes of text come from the scale at the top', () => {
  const own = declarations.filter(({ name, value }) => HAS_SCALE.test(name) && /\d(px|rem|em)\b/.test(value));
  expect(own).toEqual([]);
});

test('every custom property that is set is used, and the reverse', () => {
  const set = declarations.map(({ name }) => name).filter((name) => name.startsWith('--'));
  const used = [...css.matchAll(/var\((--[\w-]+)\)/g)].map(([, name]) => name);
  expect([...new Set(used)].sort()).toEqual([...new Set(set)].sort());
});
