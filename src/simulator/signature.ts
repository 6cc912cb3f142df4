import { createHmac } from 'node:crypto';

/**
 * The value of `X-Signature`: HMAC-SHA256 over the body as it is sent, lower-case hex. Written here a second time on
 * purpose: the app must agree with Ring, not with itself.
 */
export function webhookSignature(hmacKey: string, body: string): string {
  return `sha256=${createHmac('sha256', hmacKey).update(body).digest('hex')}`;
}
