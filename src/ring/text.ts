import { z } from 'zod';

/** Text that may end up in a header, an index and a log: visible ASCII. */
export const opaque = (maximum: number) =>
  z
    .string()
    .regex(/^[\x21-\x7e]+$/, { error: 'expected visible ASCII without spaces' })
    .max(maximum, { error: `expected ${maximum} characters at most` });

/** Any text that Postgres can store. */
export const someText = (maximum: number) =>
  z
    .string({ error: 'expected a text' })
    .min(1, { error: 'expected a text' })
    .max(maximum, { error: `expected ${maximum} characters at most` })
    .regex(/^[^\0\p{Surrogate}]*$/u, { error: 'expected a text' });

/** An ID that Ring gave. It becomes part of a path, and `.` or `..` would lead to another endpoint. */
export const ringId = opaque(512).refine((id) => id !== '.' && id !== '..', { error: 'expected an ID' });

/**
 * Text for people, without characters that Postgres can't store (U+0000, halves of surrogate pairs), and without the marks
 * that would reverse the letters of the text beside it.
 */
export const humanText = (maximum: number) =>
  z.string().transform((text) =>
    text
      .replaceAll('\0', '')
      .replace(/[\u202a-\u202e\u2066-\u2069]/g, '')
      .slice(0, maximum)
      // The cut may have gone through a pair.
      .replace(/[\ud800-\udbff]$/, '')
      .replace(/\p{Surrogate}/gu, '\ufffd'),
  );

/** Epoch milliseconds up to the year 9999. */
export const epochMs = z
  .number({ error: 'expected epoch milliseconds' })
  .int({ error: 'expected epoch milliseconds' })
  .min(0, { error: 'expected epoch milliseconds' })
  .max(253_402_300_799_999, { error: 'expected epoch milliseconds' })
  .transform((milliseconds) => new Date(milliseconds));

/** An ISO 8601 time, with up to nanoseconds, as the milliseconds that a Date holds. */
export const isoTime = z.string({ error: 'expected an ISO 8601 time' }).transform((text, context) => {
  const [, head = '', fraction = '', zone = ''] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)$/i.exec(text) ?? [];
  const iso = `${head.padEnd(19, ':00')}.${fraction.padEnd(3, '0').slice(0, 3)}${zone.replace(/(\d\d)(\d\d)$/, '$1:$2')}`;
  const time = new Date(iso.toUpperCase());
  if (head !== '' && !Number.isNaN(time.getTime())) return time;
  context.addIssue({ code: 'custom', message: 'expected an ISO 8601 time' });
  return z.NEVER;
});
