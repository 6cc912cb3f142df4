import { z } from 'zod';
import { PageLinks, readable } from './lists.js';
import { epochMs, opaque, ringId } from './text.js';

/** What a device has recorded, by Ring's history. Its ID is not the webhook's. */
export interface HistoryEvent {
  id: string;
  kind: 'motion' | 'on_demand' | 'ding';
  deviceId: string;
  startedAt: Date;
  endedAt: Date | undefined;
}

/** A page of a device's history, newest first. */
export interface HistoryPage {
  events: HistoryEvent[];
  /** Where the next page is; null on the last one. */
  next: string | null;
}

const Entry = z
  .object({
    type: z.literal('history-events'),
    id: opaque(512),
    attributes: z.object({
      event_type: z.enum(['motion', 'on_demand', 'ding']),
      start: epochMs,
      end: epochMs.optional().catch(undefined),
    }),
    relationships: z.object({ source: z.object({ data: z.object({ id: ringId }) }) }),
  })
  .transform(({ id, attributes, relationships }): HistoryEvent => ({
    id,
    kind: attributes.event_type,
    deviceId: relationships.source.data.id,
    startedAt: attributes.start,
    endedAt: attributes.end,
  }));

export const HistoryAnswer = z.object({
  data: z.array(z.unknown()).transform((entries) => ({
    /** How many entries there are, unreadable ones included: an empty page is the last. */
    count: entries.length,
    events: readable(Entry).parse(entries),
  })),
  links: PageLinks,
});
