/** What templates, examples and half-finished files leave where a value belongs. */
const PLACEHOLDERS: readonly RegExp[] = [
  /…|^\.{3}$/,
  /^<[^<>]*>$/,
  /^\$(?:\w+|\{[^}]*\}|\([^)]*\))$/,
  /\{\{.*\}\}/,
  /^(?:please[-_ ]?)?(?:change|replace|fill|insert|enter)[-_ ]?(?:me|this|it|in|with|your|here)(?![a-z])/i,
  /^your[-_ ]/i,
  /^(?:x{3,}|todo|tbd|fixme|placeholder|null|undefined)$/i,
];

/** Words that a trial may be run with, and production may not. */
const WEAK_WORDS =
  /^(?:secret|password|passwort|pass|key|token|test|dummy|example|sample|default|admin|none|foo|bar)$/i;

/** Credentials that stand in docker-compose.yml, where anybody can read them, and that look like real ones. A test compares. */
const PUBLISHED: ReadonlySet<string> = new Set([
  'simulated-client',
  'simulated-client-secret',
  'simulated-hmac-key',
  'a-session-secret-for-trying-it-out-only',
]);

/** Whether a value stands for one that somebody still has to fill in. */
export function isPlaceholder(value: string): boolean {
  return PLACEHOLDERS.some((form) => form.test(value));
}

/** Whether a secret is known to everybody who has this source. */
export const isPublished = (secret: string): boolean => PUBLISHED.has(secret);

/** Whether anybody would guess a secret: a word, one letter again and again, a short text repeated, an alphabet. */
export function isTrivial(secret: string): boolean {
  return WEAK_WORDS.test(secret) || isRegular(Array.from(secret, (letter) => letter.codePointAt(0) ?? 0));
}

/** As {@link isTrivial}, for the bytes of a key. */
export const isTrivialKey = (key: Buffer): boolean => isRegular([...key]);

/** Random text of this length is never so poor or so regular. */
function isRegular(codes: readonly number[]): boolean {
  if (new Set(codes).size < Math.min(5, Math.ceil(codes.length / 4) + 1)) return true;
  const half = Math.floor(codes.length / 2);
  for (let period = 1; period <= half; period++) {
    if (codes.every((code, index) => index < period || code === codes[index - period])) return true;
  }
  const steps = codes.slice(1).map((code, index) => Math.abs(code - (codes[index] ?? 0)));
  return steps.length > 5 && steps.filter((step) => step === 1).length >= 0.75 * steps.length;
}

/** Whether a value holds what can't be seen: a line break within it, or an invisible mark. */
export const hasInvisibleMark = (value: string): boolean => /[\p{Cc}\p{Cf}\u2028\u2029]/u.test(value);

/** Whether a quotation mark stands at one end alone. Its other one was lost, and some of the value with it. */
export const hasLoneQuote = (value: string): boolean => /^["'`“”‘’]|["'`“”‘’]$/.test(value);
