import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { maskEmail } from '../../src/ring/account-identifier.js';

describe('the masked e-mail that Ring shows', () => {
  test.each([
    ['user@partner.example.com', 'u***r@partner.example.com'],
    ['ab@example.com', 'a***b@example.com'],
    ['a@example.com', 'a***a@example.com'],
    ['first.last+ring@sub.example.co.uk', 'f***g@sub.example.co.uk'],
    ['"odd@local"@example.com', '"***"@example.com'],
    ['älter.ß@bücher.example', 'ä***ß@bücher.example'],
    ['🦊fox🐻@example.com', '🦊***🐻@example.com'],
  ])('of %s is %s', (email, masked) => {
    expect(maskEmail(email)).toBe(masked);
  });

  test('says nothing of the characters between, nor how many there are', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9.]{0,30}$/), fc.stringMatching(/^[a-z0-9.]{0,30}$/), (one, another) => {
        expect(maskEmail(`x${one}y@example.com`)).toBe(maskEmail(`x${another}y@example.com`));
      }),
    );
  });
});
