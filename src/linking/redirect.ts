import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../time/clock.js';
import { NONCE_LENGTH } from '../ring/nonce.js';

/** What Ring's redirect to the Account Link URL carries. */
export interface LinkRequest {
  nonce: string;
  /** Epoch milliseconds, as the text that Ring sent and signed. */
  time: string;
}

/** Ring's redirects are good for ten minutes. */
const LIFETIME_MS = 600_000;

const isCanonicalBase64url = (text: string) => Buffer.from(text, 'base64url').toString('base64url') === text;

const LinkQuery = z.object({
  nonce: z.string().length(NONCE_LENGTH).refine(isCanonicalBase64url),
  time: z
    .string()
    .regex(/^[1-9]\d{0,15}$/)
    .refine((text) => Number.isSafeInteger(Number(text))),
});

/** The request in a query string, or undefined when it is not one. A repeated parameter arrives as a list and is none. */
export function parseLinkRequest(query: unknown): LinkRequest | undefined {
  const parsed = LinkQuery.safeParse(query);
  return parsed.success ? { nonce: parsed.data.nonce, time: parsed.data.time } : undefined;
}

export type Freshness = 'fresh' | 'expired' | 'from-the-future';

/** @param skewSeconds how far Ring's clock may be ahead of ours */
export function freshness(request: LinkRequest, clock: Clock, skewSeconds: number): Freshness {
  if (isExpired(request, clock)) return 'expired';
  const ageMs = clock().getTime() - Number(request.time);
  return ageMs < -skewSeconds * 1_000 ? 'from-the-future' : 'fresh';
}

export function isExpired(request: LinkRequest, clock: Clock): boolean {
  return clock().getTime() - Number(request.time) > LIFETIME_MS;
}

/** Knows a nonce again without holding it. */
export function nonceDigest(nonce: string): Buffer {
  return createHash('sha256').update(nonce).digest();
}
