import { describe, expect, test } from '@jest/globals';
import { readTemplates } from '../support/inspection/templates.js';

/**
 * Prettier can't read templates, so this test checks their layout: two spaces for each element, or bracket of code,
 * that is open where a line begins. `if` and `for` do not indent their contents.
 */

describe('a template is laid out as the others are', () => {
  test.each([...readTemplates()])('%s', (name, text) => {
    expect(faultsOfLayout(name, text)).toEqual([]);
  });

  test.each([
    ['a tab', '<p>\n\tWords\n</p>\n', ['2: has a tab', '2: begins at 1, not at 2']],
    ['a blank at the end of a line', '<p> \n</p>\n', ['1: ends with a blank']],
    ['no end of its last line', '<p></p>', ['does not end with one line break']],
    ['more than one', '<p></p>\n\n', ['does not end with one line break']],
    ['an element too far to the right', '<ul>\n    <li></li>\n</ul>\n', ['2: begins at 4, not at 2']],
    ['an end that stands elsewhere than its beginning', '<ul>\n  <li>\n</li>\n</ul>\n', ['3: begins at 0, not at 2']],
    ['an attribute at the edge', '<input\nrequired\n/>\n', ['2: begins at 0, not at 2']],
    ['a value that is not indented', `<%- include('a', {\nb: 1,\n}) %>\n`, ['2: begins at 0, not at 2']],
    ['a condition that indents', '<%_ if (a) { -%>\n  <p></p>\n<%_ } -%>\n', ['2: begins at 2, not at 0']],
    ['an element that is not closed', '<div>\n  <p>\n</div>\n', ['3: closes div, but p is open', 'leaves div,p open']],
  ])('unless it has %s', (_what, text, faults) => {
    expect(faultsOfLayout('partials/wrong', text)).toEqual(faults);
  });
});

/** Something that is open at some place: an element, the head of one as `<name`, or a bracket. */
interface Opened {
  name: string;
  /** The indent of the line that opens it and of the one that closes it, in steps of two spaces. */
  level: number;
  /** The indent of the lines between. */
  inner: number;
}

interface Mark {
  at: number;
  opens?: string;
  closes?: string;
  inner?: number;
}

/** The elements that `partials/head` leaves open, for `partials/foot` to close. */
const FRAME: readonly Opened[] = ['html', 'body', 'main'].map((name, level) => ({ name, level, inner: level + 1 }));

function faultsOfLayout(template: string, text: string): string[] {
  const faults: string[] = [];
  const open: Opened[] = template === 'partials/foot' ? [...FRAME] : [];
  const marks = marksOf(text);
  let offset = 0;
  for (const [index, line] of text.split('\n').entries()) {
    const complain = (words: string) => faults.push(`${index + 1}: ${words}`);
    const indent = /^\s*/.exec(line)?.[0].length ?? 0;
    const first = marks[0]?.at === offset + indent ? marks[0] : undefined;
    const closed = open.findLast(({ name }) => name === first?.closes);
    const level = closed?.level ?? open.at(-1)?.inner ?? 0;
    if (line.includes('\t')) complain('has a tab');
    if (/\s$/.test(line)) complain('ends with a blank');
    if (line !== '' && !isInComment(text, offset) && indent !== level * 2) {
      complain(`begins at ${indent}, not at ${level * 2}`);
    }
    offset += line.length + 1;
    while (marks[0] !== undefined && marks[0].at < offset) {
      const { opens, closes, inner = level + 1 } = marks.shift() ?? {};
      if (closes !== undefined) close(open, closes, complain);
      if (opens !== undefined) open.push({ name: opens, level, inner });
    }
  }
  const left = open.map(({ name }) => name).join();
  if (left !== (template === 'partials/head' ? 'html,body,main' : '')) faults.push(`leaves ${left} open`);
  if (!/[^\n]\n$/.test(text)) faults.push('does not end with one line break');
  return faults;
}

function close(open: Opened[], closes: string, complain: (words: string) => void): void {
  // HTML closes these by itself, and there are hundreds.
  if (closes === 'select' && open.at(-1)?.name === 'option') open.pop();
  const last = open.at(-1)?.name ?? 'nothing';
  if (last === closes) open.pop();
  else complain(`closes ${closes}, but ${last} is open`);
}

const isInComment = (text: string, offset: number): boolean =>
  text.lastIndexOf('<%#', offset - 1) > text.lastIndexOf('%>', offset - 1);

const TOKENS = /<%#.*?%>|<!.*?>|<%(?<code>.*?)%>|<\/(?<closed>\w+)>|<(?<tag>[a-z]\w*)|(?<end>\/?>)/gs;
const PAIRS: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** The places where elements, heads of elements and brackets are opened and closed, in order. */
function marksOf(text: string): Mark[] {
  let tag = '';
  return [...text.matchAll(TOKENS)].flatMap(({ index: at, groups = {} }): Mark[] => {
    const { code, closed, end } = groups;
    if (code !== undefined) return marksOfCode(at, code);
    if (closed !== undefined) return [{ at, closes: closed }];
    if (groups.tag !== undefined) {
      tag = groups.tag;
      return [{ at, opens: `<${tag}` }];
    }
    if (end === undefined) return [];
    return [{ at, closes: `<${tag}` }, ...(end === '>' ? [{ at, opens: tag }] : [])];
  });
}

/**
 * The contents of an `if` or a `for` in its braces are no code, so brackets count only where code goes over several
 * lines.
 */
function marksOfCode(at: number, code: string): Mark[] {
  if (code.includes("include('partials/head'")) return [{ at, opens: 'frame', inner: FRAME.length }];
  if (code.includes("include('partials/foot'")) return [{ at, closes: 'frame' }];
  if (!code.includes('\n')) return [];
  return [...code.matchAll(/[([{]|[)\]}]/g)].map(({ 0: bracket, index }) => {
    const opens = PAIRS[bracket];
    const place = { at: at + '<%'.length + index };
    return opens === undefined ? { ...place, closes: bracket } : { ...place, opens };
  });
}
