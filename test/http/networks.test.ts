import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { networkOf, trustedProxies } from '../../src/http/networks.js';

const IPV4 = { own: '203.0.113.8', around: undefined };
const IPV6 = { own: '2001:db8:1:2::/64', around: '2001:db8:1::/48' };

describe('one network, however its address is written', () => {
  test.each([
    ['plain', '203.0.113.8'],
    ['with a port', '203.0.113.8:40001'],
    ['with another port', '203.0.113.8:40002'],
    ['with spaces', ' 203.0.113.8 '],
    ['in quotes', '"203.0.113.8:40001"'],
    ['in brackets', '[203.0.113.8]:40001'],
    ['mapped', '::ffff:203.0.113.8'],
    ['mapped, in capitals', '::FFFF:203.0.113.8'],
    ['mapped, in hex', '::ffff:cb00:7108'],
    ['mapped, in full', '0:0:0:0:0:ffff:203.0.113.8'],
    ['mapped, in brackets and with a port', '[::ffff:203.0.113.8]:40001'],
    ['translated (RFC 6052)', '64:ff9b::203.0.113.8'],
    ['translated (RFC 6145)', '::ffff:0:203.0.113.8'],
  ])('IPv4, %s', (_how, text) => {
    expect(networkOf(text)).toEqual(IPV4);
  });

  test.each([
    ['plain', '2001:db8:1:2:3:4:5:6'],
    ['another one of its /64', '2001:db8:1:2::1'],
    ['in capitals', '2001:DB8:1:2::A'],
    ['with leading zeros', '2001:0db8:0001:0002:0000:0000:0000:0001'],
    ['in brackets', '[2001:db8:1:2::1]'],
    ['in brackets and with a port', '[2001:db8:1:2::1]:443'],
    ['in quotes', '"[2001:db8:1:2::1]:443"'],
    ['with a port and no brackets', '2001:db8:1:2::1:40001'],
    ['in full, with a port and no brackets', '2001:db8:1:2:3:4:5:6:443'],
    ['with a zone', '2001:db8:1:2::1%eth0'],
    ['with a zone, in brackets', '[2001:db8:1:2::1%eth0.1]:443'],
    ['with the end of it as IPv4', '2001:db8:1:2::203.0.113.8'],
  ])('IPv6, %s', (_how, text) => {
    expect(networkOf(text)).toEqual(IPV6);
  });
});

test('every IPv6 address is read, however its end is written', () => {
  const groups = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 0xffff })), {
    minLength: 8,
    maxLength: 8,
  });
  fc.assert(
    fc.property(groups, ([first = 0, ...rest]) => {
      const all = [first | 0x2000, ...rest];
      const hex = all.map((group) => group.toString(16));
      const end = all.slice(6).flatMap((group) => [group >> 8, group & 0xff]);
      const expected = { own: `${hex.slice(0, 4).join(':')}::/64`, around: `${hex.slice(0, 3).join(':')}::/48` };
      expect(networkOf(hex.join(':'))).toEqual(expected);
      expect(networkOf(`[${hex.slice(0, 6).join(':')}:${end.join('.')}]:443`)).toEqual(expected);
    }),
  );
});

test('no text is too odd', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%[]"') })), (text) => {
      expect(networkOf(text).own).toMatch(/^(unknown|[\d.]+|[\da-f:]+::\/64)$/);
    }),
    { numRuns: 2_000 },
  );
});

test('IPv6 networks are told apart by their /64, and belong together by their /48', () => {
  expect(networkOf('2001:db8:1:3::1')).toEqual({ own: '2001:db8:1:3::/64', around: IPV6.around });
  expect(networkOf('2001:db8:2:2::1')).toEqual({ own: '2001:db8:2:2::/64', around: '2001:db8:2::/48' });
  expect(networkOf('::1')).toEqual({ own: '0:0:0:0::/64', around: '0:0:0::/48' });
});

test.each([
  undefined,
  '',
  'unknown',
  '_hidden',
  '203.0.113',
  '203.0.113.8.9',
  '203.0.113.256',
  '[2001:db8::1',
  '1::2::3',
  '/run/x',
])('what is no address (%j) counts as one and the same', (text) => {
  expect(networkOf(text)).toEqual({ own: 'unknown', around: undefined });
});

describe('trusted proxies', () => {
  test('may be a number, which Express counts', () => {
    expect(trustedProxies(2)).toBe(2);
  });

  test.each([
    [['10.0.0.0/8'], '10.1.2.3', true],
    [['10.0.0.0/8'], '10.1.2.3:3456', true],
    [['10.0.0.0/8'], '::ffff:10.1.2.3', true],
    [['10.0.0.0/8'], '11.1.2.3', false],
    [['10.0.0.0/8'], '', false],
    [['10.0.0.0/8'], 'unknown', false],
    [['203.0.113.8'], '203.0.113.8:1', true],
    [['203.0.113.8'], '203.0.113.9', false],
    [['2001:db8::/32'], '[2001:DB8:1::2]:443', true],
    [['2001:db8::/32'], '2001:db9::1', false],
    [['loopback'], '127.0.0.1', true],
    [['loopback'], '::1', true],
    [['linklocal'], 'fe80::1%eth0', true],
    [['uniquelocal'], '192.168.1.1', true],
    [['uniquelocal'], 'fd00::1', true],
    [['uniquelocal', '203.0.113.0/24'], '203.0.113.8', true],
    [['uniquelocal'], '203.0.113.8', false],
  ])('%j and %s: %s', (setting, address, expected) => {
    const trusts = trustedProxies(setting);
    expect(typeof trusts === 'function' && trusts(address)).toBe(expected);
  });
});
