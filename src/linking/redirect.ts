import { createHash } from 'node:crypto';
import { z } from 'zod';
import { NONCE_LENGTH } from '../ring/nonce.js';

/** The nonce and time that Ring's redirect brings to the Account Link URL. */
export interface Redirect {
  nonce: string;
  /** Epoch milliseconds, as the text that Ring sent and signed. */
  time: string;
}

/** Ring's redirects are valid for ten minutes. */
const LIFETIME_MS = 600_000;

const isCanonicalBase64url = (text: string) => Buffer.from(text, 'base64url').toString('base64url') === text;

const RedirectQuery = z.object({
  nonce: z.string().length(NONCE_LENGTH).refine(isCanonicalBase64url),
  time: z
    .string()
    .regex(/^[1-9]\d{0,15}$/)
    .refine((text) => Number.isSafeInteger(Number(text))),
});

/** The redirect in a query string, or undefined when it is malformed. A repeated parameter arrives as a list and is, too. */
export function parseRedirect(query: unknown): Redirect | undefined {
  const parsed = RedirectQuery.safeParse(query);
  return parsed.success ? { nonce: parsed.data.nonce, time: parsed.data.time } : undefined;
}

export type Freshness = 'fresh' | 'expired' | 'from-the-future';

/** @param skewSeconds how far Ring's clock may be ahead of ours */
export function freshness(redirect: Redirect, now: Date, skewSeconds: number): Freshness {
  if (isExpired(redirect, now)) return 'expired';
  const ageMs = now.getTime() - Number(redirect.time);
  return ageMs < -skewSeconds * 1_000 ? 'from-the-future' : 'fresh';
}

export function isExpired(redirect: Redirect, now: Date): boolean {
  return now.getTime() - Number(redirect.time) > LIFETIME_MS;
}

/** A digest that recognizes a nonce without keeping it. */
export function nonceDigest(nonce: string): Buffer {
  return createHash('sha256').update(nonce).digest();
}
