import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';

const SIGNATURE = /^sha256=([0-9a-f]{64})$/i;

/** Whether `X-Signature` has the form of a signature. What Ring sends always has one, right or wrong. */
export const hasSignature = (header: string | undefined): boolean => SIGNATURE.test(header ?? '');

/**
 * Whether Ring signed these very bytes: `X-Signature` is `sha256=` and the HMAC-SHA256 of the raw body in hex (nonces use
 * the same key in base64url).
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function isSignedByRing(hmacKey: KeyObject, header: string | undefined, rawBody: Buffer): boolean {
  const [, hex] = SIGNATURE.exec(header ?? '') ?? [];
  if (hex === undefined) return false;
  return timingSafeEqual(Buffer.from(hex, 'hex'), createHmac('sha256', hmacKey).update(rawBody).digest());
}
