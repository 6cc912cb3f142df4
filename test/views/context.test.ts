import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import ejs from 'ejs';
import ts from 'typescript';
import { VIEWS_DIR } from '../../src/configuration/paths.js';
import { readTemplates } from '../support/inspection/templates.js';

/**
 * Each template begins with a comment that says what it is, followed by a line for each parameter:
 *
 *     @param {type} name and words, if they are needed
 *
 * The types are TypeScript's, and those of `src` by their names. So TypeScript can read each template as a function of
 * its declared parameters, and report what is misspelt, missing or left over: in the template, where another includes
 * it, and where `render` shows it.
 */

const ROOT = join(VIEWS_DIR, '..');
/** The path by which the checked code imports `src`. */
const SOURCE = './src';
const PARTIALS = 'partials/';

/** A name, and the code that is checked under it. */
type Section = [name: string, code: string];

test('every template gets exactly what it declares, and uses it', () => {
  const wrong = [...templates.keys(), 'all'].filter((name) => (faults.get(name) ?? '') !== '');
  expect(wrong.map((name) => [name, faults.get(name)])).toEqual([]);
});

const ICON = `<%- include('icon', { name: 'eye' }) %>`;

/** Templates that must not pass. */
const BROKEN: Record<string, [text: string, complaint: RegExp]> = {
  'without a word about itself': ['<p></p>', /does not begin with a comment/],
  'with a declaration of another form': [`<%# Words.\n    @param name {string} -%>\n<%= name %>`, /is not understood/],
  'with what it does not declare': ['<%# Words. -%>\n<%= title %>', /Cannot find name 'title'/],
  'with a name that browsers have': ['<%# Words. -%>\n<%= name %><%= status %>', /Cannot find name 'name'/],
  'with a misspelt name': [
    '<%# Words.\n    @param {string} email -%>\n<%= emial %>',
    /'email' is declared but[\s\S]*Cannot find name 'emial'/,
  ],
  'with what it does not use': ['<%# Words.\n    @param {string} email -%>\n<p></p>', /'email' is declared but/],
  'with a misspelt member': ['<%# Words.\n    @param {TimeView} at -%>\n<%= at.txt %>', /'txt' does not exist/],
  'with null in its words': [
    '<%# Words.\n    @param {string | null} word -%>\n<%= word %>',
    /'null' is not assignable/,
  ],
  'with a type that does not exist': [
    '<%# Words.\n    @param {Nothing} it -%>\n<%= it %>',
    /Cannot find name 'Nothing'/,
  ],
  'that gives too little': [`<%# Words. -%>\n<%- include('icon') %>`, /Expected 2 arguments/],
  'that gives too much': [`<%# Words. -%>\n${ICON.replace(' }', `, size: 'small' }`)}`, /'size' does not exist/],
  'that gives another kind': [`<%# Words. -%>\n${ICON.replace(`'eye'`, 'null')}`, /'null' is not assignable/],
  'that includes what is not there': [`<%# Words. -%>\n<%- include('icno') %>`, /'"icno"' is not assignable/],
};

test.each(Object.entries(BROKEN))('a template %s is refused', (name, [, complaint]) => {
  expect(faults.get(PARTIALS + name)).toMatch(complaint);
});

/** Calls of `render` that must not pass. */
const SHOWN = `declare const response: import('express').Response;
  const view = { title: 'Home', csrfToken: '', email: '', links: [], latest: null };`;
const MISSHOWN: Record<string, [code: string, complaint: RegExp]> = {
  'without what it needs': [`render(response, 'account-deleted', {});`, /'title' is missing/],
  'with more than it needs': [
    `${SHOWN} render(response, 'home', { ...view, emial: '' });`,
    /'string' is not .* 'never'/,
  ],
  'with a misspelt name': [`${SHOWN} render(response, 'hmoe', view);`, /'"hmoe"' is not assignable/],
};

test.each(Object.entries(MISSHOWN))('a page that is shown %s is refused', (name, [, complaint]) => {
  expect(faults.get(name)).toMatch(complaint);
});

test('a page that declares something else than it is shown with is refused', () => {
  expect(faults.get('account-deleted, declared otherwise')).toMatch(
    /'true' does not satisfy the expected type 'false'/,
  );
});

const templates = readTemplates();

let faults: Map<string, string>;
beforeAll(() => {
  const broken = Object.entries(BROKEN).map(([name, [text]]) => [PARTIALS + name, text] as const);
  const misshown = Object.entries(MISSHOWN).map(([name, [code]]): Section => [name, `() => { ${code} };`]);
  faults = faultsOf(new Map([...templates, ...broken]), [
    ...misshown,
    ['account-deleted, declared otherwise', `true satisfies Same<Views['account-deleted'], { title: number }>;`],
  ]);
});

/** TypeScript's complaints about the templates and about more code beside them, by name. */
function faultsOf(all: ReadonlyMap<string, string>, more: Section[]): Map<string, string> {
  const declared = [...all].map(([name, text]) => ({ name, text, ...readDeclaration(text) }));
  const found = new Map(declared.map(({ name, complaint }) => [name, complaint ?? '']));
  const sections: Section[] = [
    ['all', preamble(declared.flatMap(({ fields }) => [...fields.values()]).join())],
    ...declared.map(({ name, text, fields }): Section => [name, codeOf(name, text, fields)]),
    ...more,
  ];
  let source = '';
  const starts = sections.map(([name, code]) => {
    const from = source.length;
    source += `${code}\n`;
    return { name, from };
  });
  for (const { start = 0, length = 0, messageText } of diagnose(source)) {
    const name = starts.findLast(({ from }) => from <= start)?.name ?? 'all';
    const words = `${ts.flattenDiagnosticMessageText(messageText, ' ')} (${source.slice(start, start + length)})`;
    found.set(name, `${found.get(name) ?? ''}${words}\n`);
  }
  return found;
}

/** The types of a template's parameters, by name. */
function readDeclaration(text: string): { fields: Map<string, string>; complaint?: string } {
  const fields = new Map<string, string>();
  const comment = /^<%# (.*?) -%>\n/s.exec(text)?.[1];
  if (comment === undefined) return { fields, complaint: 'does not begin with a comment' };
  for (const line of comment.split('\n').filter((one) => one.includes('@'))) {
    const [, type, name] = /^ {4}@param \{(.+)\} (\w+)(?: .+)?$/.exec(line) ?? [];
    if (type === undefined || name === undefined) return { fields, complaint: `is not understood: ${line}` };
    fields.set(name, type);
  }
  return { fields };
}

/** The declarations that the code of all templates needs. @param types that they name */
const preamble = (types: string): string => `
import type {} from '${SOURCE}/app.js';
import { render, type Views } from '${SOURCE}/http/render.js';
${importsOf(new Set(types.match(/\b[A-Z]\w+/g)))}
type Include<Folder extends string> = <Name extends keyof Partials>(
  path: \`\${Folder}\${Name}\`,
  ...view: keyof Partials[Name] extends never ? [] : [Partials[Name]]
) => string;
type Same<One, Other> = [One] extends [Other] ? ([Other] extends [One] ? true : false) : false;
declare function __append(text: string): void;
declare function escapeFn(text: string | number): string;
true satisfies Same<keyof Views, keyof Pages>;`;

/** Imports of types, from the files of `src` that export them. */
function importsOf(names: ReadonlySet<string>): string {
  return readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.startsWith('simulator'))
    .flatMap((file) => {
      const text = readFileSync(join(ROOT, 'src', file), 'utf8');
      const exported = [...text.matchAll(/^export (?:interface|type) (\w+)/gm)].map(([, name = '']) => name);
      const path = `${SOURCE}/${file.replace(/\.ts$/, '.js')}`;
      return exported.filter((name) => names.has(name)).map((name) => `import type { ${name} } from '${path}';`);
    })
    .join('\n');
}

/** A template as a function of its declared parameters. For a page, also a check that it is shown with just these. */
function codeOf(name: string, text: string, fields: ReadonlyMap<string, string>): string {
  const template = new ejs.Template(text, { _with: false, compileDebug: false });
  template.compile();
  // The compiled function without the lines around it, which set up its output.
  const body = template.source.split('\n').slice(2, -2).join('\n');
  const isPartial = name.startsWith(PARTIALS);
  const [kind, key] = isPartial ? ['Partials', name.slice(PARTIALS.length)] : ['Pages', name];
  const types = [...fields].map(([field, type]) => `${field}: ${type};`).join(' ');
  const include = body.includes('include(') ? `, include: Include<'${isPartial ? '' : PARTIALS}'>` : '';
  return `
interface ${kind} { '${key}': { ${types} } }
${isPartial ? '' : `true satisfies Same<Views['${key}'], ${kind}['${key}']>;`}
({ ${[...fields.keys()].join(', ')} }: ${kind}['${key}']${include}): void => {
${body}
};`;
}

function diagnose(source: string): readonly ts.Diagnostic[] {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
    config: unknown;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const host = ts.createCompilerHost(options);
  const path = join(ROOT, 'templates.ts');
  const readSource = host.getSourceFile.bind(host);
  host.getSourceFile = (file, language) =>
    file === path ? ts.createSourceFile(file, source, language, true) : readSource(file, language);
  const program = ts.createProgram([path], { ...options, noEmit: true, incremental: false }, host);
  const file = program.getSourceFile(path);
  return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
}
