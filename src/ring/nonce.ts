import { createHmac, type KeyObject } from 'node:crypto';

/** Base64url text of 32 bytes without padding. */
export const NONCE_LENGTH = 43;

/**
 * The nonce that Ring signs for one account and one redirect: HMAC-SHA256 over `<time>:<account id>`, as URL-safe
 * base64 without padding (webhook signatures use the same key in hex).
 *
 * @param time epoch milliseconds as Ring's text, exactly as received: a number would lose its spelling
 * @see https://developer.amazon.com/docs/ring/app-deployment.html
 */
export function computeNonce(hmacKey: KeyObject, time: string, accountId: string): string {
  return createHmac('sha256', hmacKey).update(`${time}:${accountId}`).digest('base64url');
}
