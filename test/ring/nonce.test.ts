import { createHmac, createSecretKey } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { computeNonce, NONCE_LENGTH } from '../../src/ring/nonce.js';

const keyOf = (text: string) => createSecretKey(text, 'utf8');

describe('the nonce of an account and a time', () => {
  // Made with: printf '%s' "$TIME:$ACCOUNT" | openssl dgst -sha256 -hmac "$KEY" -binary | openssl base64 -A | tr '+/' '-_' | tr -d '='
  test.each([
    {
      key: 'ring-signing-key',
      time: '1790000000000',
      account: 'ava1.ring.account.AEXAMPLE',
      nonce: 'ZS7w_PutMlQ10Ew1r2uiHscLQ-hvf7fzngHKP9KheYQ',
    },
    {
      key: 'ring-signing-key',
      time: '1790000000001',
      account: 'ava1.ring.account.AEXAMPLE',
      nonce: 'oCw42R217wF1C8rPhczR7jWb4dwsoTyeI5Hu0B2pg0k',
    },
    {
      key: 'ring-signing-key',
      time: '1790000000000',
      account: 'ava1.ring.account.AEXAMPLF',
      nonce: 'eESbI826ZoyW3G0T8LqiPBuS-KWRLMcUhBHZyRYn38E',
    },
    {
      key: 'ring-signing-key',
      time: '1790000000020',
      account: 'ava1.ring.account.AEXAMPLE',
      nonce: 'eqLxmp-hxr_AkvL_mksqrvBxY-4tKMimyV4WQAtMyms',
    },
    {
      key: 'ünïcode-kéy-鍵',
      time: '1790000000000',
      account: 'ava1.ring.account.Zoë:colon',
      nonce: '3c06mINkNPt98tIpAnF08zgr0IbZgc9KG8y4F8_iU-c',
    },
    // A key that looks like base64 is text all the same.
    { key: 'QUJDREVGR0hJSktMTU5PUA==', time: '1', account: 'x', nonce: 'htoYwpvBbhP62PMK_EOwYi8smme1YDFmTj3y1jJqtZE' },
  ])('is what openssl makes of $time and $account under $key', ({ key, time, account, nonce }) => {
    expect(computeNonce(keyOf(key), time, account)).toBe(nonce);
  });

  test('keeps the spelling of the time: the same number written differently is another nonce', () => {
    const key = keyOf('ring-signing-key');
    const spellings = ['1790000000000', '01790000000000', '1790000000000.0', '1.79e12', ' 1790000000000'];
    expect(new Set(spellings.map((time) => computeNonce(key, time, 'account'))).size).toBe(spellings.length);
  });

  test('is 43 characters of unpadded base64url, equal to an HMAC over time, colon and account, for anything', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), text, text, (secret, time, account) => {
        const nonce = computeNonce(keyOf(secret), time, account);
        const base64 = createHmac('sha256', secret).update(`${time}:${account}`, 'utf8').digest('base64');
        expect(nonce).toBe(base64.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, ''));
        expect(nonce).toHaveLength(NONCE_LENGTH);
      }),
    );
  });
});
