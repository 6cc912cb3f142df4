import { createHmac } from 'node:crypto';

/**
 * The two signatures that Ring makes with its HMAC key. They are written here a second time on purpose: the app must
 * agree with Ring, not with itself.
 */

/**
 * The nonce of an account-link redirect: HMAC-SHA256 over the text `<time>:<account_id>`, URL-safe base64 without
 * padding.
 *
 * @param time epoch milliseconds
 */
export function linkNonce(hmacKey: string, time: number, accountId: string): string {
  return createHmac('sha256', hmacKey).update(`${time}:${accountId}`).digest('base64url');
}

/** The value of `X-Signature`: HMAC-SHA256 over the body as it is sent, lower-case hex. */
export function webhookSignature(hmacKey: string, body: string): string {
  return `sha256=${createHmac('sha256', hmacKey).update(body).digest('hex')}`;
}
