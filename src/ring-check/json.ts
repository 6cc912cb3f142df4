export type JsonType = 'null' | 'array' | 'object' | 'string' | 'number' | 'boolean';

export function typeOf(value: unknown): JsonType | 'missing' {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  const type = typeof value;
  return type === 'object' || type === 'string' || type === 'number' || type === 'boolean' ? type : 'missing';
}

export const isContainer = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

/** Whether a key is a field's name, and not an ID or somebody's name that the object is indexed by. */
export const isFieldName = (key: string): boolean => /^[a-z][A-Za-z]*(_[A-Za-z]+)*$/.test(key) && key.length <= 40;

/** The path of a key within a path: `data[].attributes`. A key that may be a value is `*`. */
export function pathOf(parent: string, key: string, isEntry: boolean): string {
  if (isEntry) return `${parent}[]`;
  const name = isFieldName(key) ? key : '*';
  return parent === '' ? name : `${parent}.${name}`;
}
