import { createHmac, type KeyObject } from 'node:crypto';

/** The length of 32 bytes in base64url without padding. */
export const NONCE_LENGTH = 43;

/**
 * The nonce that Ring signs for one account and one redirect: HMAC-SHA256 over `<time>:<account id>`, as URL-safe
 * base64 without padding (webhook signatures use the same key in hex).
 *
 * @param time epoch milliseconds, exactly the text that Ring sent: a number could be written in another way
 * @see https://developer.amazon.com/docs/ring/app-deployment.html
 */
export function computeNonce(hmacKey: KeyObject, time: string, accountId: string): string {
  return createHmac('sha256', hmacKey).update(`${time}:${accountId}`).digest('base64url');
}
