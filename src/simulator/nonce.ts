import { createHmac } from 'node:crypto';

/**
 * The nonce of an account-link redirect: HMAC-SHA256 over the text `<time>:<account_id>`, URL-safe base64 without
 * padding. Written here a second time on purpose: the app must agree with Ring, not with itself.
 *
 * @param time epoch milliseconds
 */
export function linkNonce(hmacKey: string, time: number, accountId: string): string {
  return createHmac('sha256', hmacKey).update(`${time}:${accountId}`).digest('base64url');
}
