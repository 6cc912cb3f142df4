export type Environment = Readonly<Record<string, string | undefined>>;

/** White space and marks that nobody sees, such as the newline that `echo` adds and the byte order mark of a file. */
const AROUND = /^[\s\p{Cc}\p{Cf}]+|[\s\p{Cc}\p{Cf}]+$/gu;

/** Quotation marks by the one that ends them. Docker's `--env-file` takes them for a part of the value. */
const QUOTES: Readonly<Record<string, string>> = { '"': '"', "'": "'", '`': '`', '“': '”', '‘': '’' };

/** Without what is around a value by mistake: white space, and quotation marks that belong together. */
export function cleanValue(value: string): string {
  const text = value.replace(AROUND, '');
  const closing = QUOTES[text.charAt(0)];
  const isQuoted = text.length > 1 && closing !== undefined && text.endsWith(closing);
  return isQuoted ? cleanValue(text.slice(1, -1)) : text;
}

/** The variables that are set. An empty one is what compose files and CI systems pass for "not set". */
export function givenVariables(environment: Environment): Record<string, string> {
  const entries = Object.entries(environment).map(([name, value]) => [name, cleanValue(value ?? '')] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== ''));
}
