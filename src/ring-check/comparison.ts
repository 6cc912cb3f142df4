import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { isContainer, pathOf, typeOf } from './json.js';

/**
 * How an answer fits a schema of ours. A finding is a path and a type of JSON, such as `data[].attributes.name (number)`,
 * and never a value.
 */
export interface Comparison<Parsed> {
  /** Undefined when the schema refused the answer. */
  parsed: Parsed | undefined;
  /** What the schema refused, or looked at and did not take over. */
  lost: Set<string>;
  /** What no schema of ours looks at. */
  unread: Set<string>;
}

/**
 * Compares an answer with what a schema made of it. Our schemas are lenient: they leave out what they don't understand and
 * say nothing. So each value that the schema looked at is taken away for a moment: when the result is the same without
 * it, it was lost.
 */
export function compare<Parsed>(schema: z.ZodType<Parsed>, raw: unknown): Comparison<Parsed> {
  const result = schema.safeParse(raw);
  if (!result.success) {
    const lost = new Set(result.error.issues.map(({ path }) => describe(raw, path)));
    return { parsed: undefined, lost, unread: new Set() };
  }
  const comparison = { parsed: result.data, lost: new Set<string>(), unread: new Set<string>() };
  for (const part of independentParts(raw)) addFindings(schema, part, comparison);
  return comparison;
}

/** The keys that were looked for in each object and list, whether they were there or not. */
type Reads = Map<object, Set<string>>;

/** A value that notes what is read of it, however deep. */
function traced(value: unknown, reads: Reads): unknown {
  if (!isContainer(value)) return value;
  const keys = reads.get(value) ?? new Set();
  reads.set(value, keys);
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === 'string') keys.add(key);
      return traced(Reflect.get(target, key), reads);
    },
  });
}

/** The entries of a list that includes nothing don't need each other, and a long list would take a square of its length. */
function independentParts(raw: unknown): unknown[] {
  if (!isContainer(raw) || !Array.isArray(raw.data) || raw.data.length === 0 || 'included' in raw) return [raw];
  return raw.data.map((entry: unknown) => ({ ...raw, data: [entry] }));
}

/** Adds what a part of an answer lost, and what was not read of it. */
function addFindings(schema: z.ZodType, raw: unknown, { lost, unread }: Pick<Comparison<unknown>, 'lost' | 'unread'>) {
  if (!isContainer(raw)) return;
  const reads: Reads = new Map();
  const whole = schema.safeParse(traced(raw, reads)).data;
  const texts = textsIn(whole);

  /** A text may also equal what stands for a lost one, so one that the result holds was kept. */
  const isLost = (parent: Record<string, unknown>, key: string): boolean => {
    const value = parent[key];
    if (typeof value === 'string' && texts.has(value)) return false;
    parent[key] = null;
    const { data } = schema.safeParse(raw);
    parent[key] = value;
    return isDeepStrictEqual(data, whole);
  };

  const visit = (parent: Record<string, unknown>, path: string): void => {
    for (const [key, value] of Object.entries(parent)) {
      const here = pathOf(path, key, Array.isArray(parent));
      // Null stands for what a device has not got.
      if (value === null) continue;
      if (reads.get(parent)?.has(key) !== true) {
        unread.add(`${here} (${typeOf(value)})`);
        continue;
      }
      const isWholeLost = isLost(parent, key);
      if (isWholeLost && isContainer(value)) addMissing(value, here);
      if (isContainer(value) && (!isWholeLost || isReadWithin(value, reads))) visit(value, here);
      else if (isWholeLost) lost.add(`${here} (${typeOf(value)})`);
    }
  };

  /** What may have cost an object that was lost. */
  const addMissing = (container: object, path: string): void => {
    if (Array.isArray(container)) return;
    for (const key of reads.get(container) ?? []) {
      if (!(key in container)) lost.add(`${pathOf(path, key, false)} (missing)`);
    }
  };

  visit(raw, '');
}

/** Whether the schema looked at an entry that is there. An object that was only taken over or dropped is none of these. */
const isReadWithin = (container: Record<string, unknown>, reads: Reads): boolean =>
  Object.keys(container).some((key) => reads.get(container)?.has(key) === true);

/** Every text in a result. */
function textsIn(value: unknown, found = new Set<string>()): Set<string> {
  if (typeof value === 'string') found.add(value);
  else if (isContainer(value)) for (const one of Object.values(value)) textsIn(one, found);
  return found;
}

/** The path that a schema refused, and what stands there. */
function describe(raw: unknown, path: readonly PropertyKey[]): string {
  let value = raw;
  let text = '';
  for (const key of path.map(String)) {
    text = pathOf(text, key, Array.isArray(value));
    value = isContainer(value) ? value[key] : undefined;
  }
  return `${text === '' ? 'the whole answer' : text} (${typeOf(value)})`;
}
