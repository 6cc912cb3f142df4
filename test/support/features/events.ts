import { randomUUID } from 'node:crypto';
import type { World } from '../worlds/world.js';
import type { Owner } from './devices.js';

export interface EventRow {
  deviceId?: string;
  type?: string;
  subtype?: string | null;
  occurredAt: Date;
  requestId?: string;
}

/** Records events as if their webhooks had come. Returns their IDs. */
export async function recorded(
  world: Pick<World, 'sql'>,
  { ringUser, device }: Pick<Owner, 'ringUser' | 'device'>,
  events: EventRow[],
): Promise<string[]> {
  const ids: string[] = [];
  for (const { deviceId = device.id, type = 'motion_detected', subtype = 'human', occurredAt, requestId } of events) {
    const id = requestId ?? randomUUID();
    await world.sql(
      `INSERT INTO device_events (request_id, account_id, device_id, type, subtype, occurred_at)
       VALUES ($1, $2, $3, $4, $5, $6)`,
      [id, ringUser.account_id, deviceId, type, subtype, occurredAt],
    );
    ids.push(id);
  }
  return ids;
}

/** The events that a page shows, in its order. */
export const eventsOn = (html: string): string[] =>
  [...html.matchAll(/<li class="event" id="event-([^"]+)"/g)].map(([, id = '']) => id);

/** The target of the link with this text on the page, as a browser reads it. */
export function linkOn(html: string, text: string): string {
  const [, href] = new RegExp(`<a [^>]*href="([^"]+)"[^>]*>${text}</a>`).exec(html) ?? [];
  if (href === undefined) throw new Error(`the page has no link ${text}:\n${html}`);
  return href.replaceAll('&amp;', '&');
}
