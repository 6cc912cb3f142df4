import { z } from 'zod';
import { PageLinks } from './lists.js';
import { epochMs, isoTime, opaque, ringId } from './text.js';

/** A subscription that a Ring user pays for or tries. */
export interface RingSubscription {
  id: string;
  subType: 'paid' | 'trial' | 'other';
  status: 'active' | 'inactive';
  /** Null for a trial. */
  planId: string | null;
  expiresAt: Date | null;
  createdAt: Date | null;
  deviceIds: string[];
}

/** A time in either form, because Ring's page does not say which it uses. */
const Time = z.union([isoTime, epochMs]).nullish().catch(null);

const Subscription = z
  .object({
    id: ringId,
    type: z.literal('subscriptions'),
    attributes: z.object({
      sub_type: z.enum(['paid', 'trial', 'other']).catch('other'),
      status: z.enum(['active', 'inactive']).catch('inactive'),
      plan_id: opaque(512).nullish().catch(null),
      expires_at: Time,
      created_at: Time,
    }),
    relationships: z.object({ devices: z.object({ data: z.array(z.object({ id: ringId })) }).nullish() }).nullish(),
  })
  .transform(({ id, attributes, relationships }): RingSubscription => ({
    id,
    subType: attributes.sub_type,
    status: attributes.status,
    planId: attributes.plan_id ?? null,
    expiresAt: attributes.expires_at ?? null,
    createdAt: attributes.created_at ?? null,
    deviceIds: relationships?.devices?.data.map((device) => device.id) ?? [],
  }));

/**
 * One entry that can't be read makes a page unreadable. Without it, what its subscription pays for would be taken from its
 * devices at once; an answer that can't be read only has the last one count for longer.
 */
export const SubscriptionsAnswer = z.object({ data: z.array(Subscription), links: PageLinks });
