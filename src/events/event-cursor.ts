import { z } from 'zod';
import { epochMs } from '../ring/text.js';

/** A place between two events of a list: where a page ends, whatever happens before and after it. */
export interface EventCursor {
  occurredAt: Date;
  requestId: string;
}

const Place = z.tuple([epochMs, z.guid()]);

/** The place of an event, as text for an address. Its form may change: only {@link Cursor} reads it. */
export function writeCursor({ occurredAt, requestId }: EventCursor): string {
  return Buffer.from(JSON.stringify([occurredAt.getTime(), requestId])).toString('base64url');
}

/** A cursor as it stood in an address: hostile. */
export const Cursor = z
  .string()
  .regex(/^[\w-]{1,100}$/)
  .transform((text, context): EventCursor => {
    const place = Place.safeParse(parseJson(Buffer.from(text, 'base64url').toString()));
    if (place.success) return { occurredAt: place.data[0], requestId: place.data[1] };
    context.addIssue({ code: 'custom', message: 'expected a cursor' });
    return z.NEVER;
  });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
