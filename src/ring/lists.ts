import { z } from 'zod';

/**
 * A list without the entries that can't be read, so that an odd one does not cost the others.
 *
 * @param most further entries are left out
 */
export const readable = <Value>(entry: z.ZodType<Value>, most = Infinity): z.ZodType<Value[]> =>
  z.array(z.unknown()).transform((entries) =>
    entries.slice(0, most).flatMap((one) => {
      const parsed = entry.safeParse(one);
      return parsed.success ? [parsed.data] : [];
    }),
  );

/** The way on from a page of a list. `next` is a relative URL, and absent on the last page. */
export const PageLinks = z.object({ next: z.string().max(4_000).nullish() }).nullish();
