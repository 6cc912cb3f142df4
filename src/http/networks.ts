import { BlockList, isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Who is counted as one caller. */
export interface Network {
  /** The IPv4 address, or the /64 of the IPv6 address: whoever has one address of a /64 has them all. */
  own: string;
  /** The /48 around it, of which somebody may have all, and a carrier gives each customer a part. IPv4 has none. */
  around: string | undefined;
}

/** All that is no address counts as one caller: nobody becomes many by sending nonsense. */
const UNKNOWN: Network = { own: 'unknown', around: undefined };

/** The network of an address, however it is written. */
export function networkOf(text: string | undefined): Network {
  const address = parse(text ?? '');
  if (address === undefined) return UNKNOWN;
  if (address instanceof ipaddr.IPv4) return { own: address.toString(), around: undefined };
  const prefix = (groups: number) =>
    address.parts
      .slice(0, groups)
      .map((group) => group.toString(16))
      .join(':');
  return { own: `${prefix(4)}::/64`, around: `${prefix(3)}::/48` };
}

/** The names that `TRUST_PROXY` knows, as Express does. */
const NAMED_SUBNETS: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
};

/**
 * Express' setting `trust proxy`. Express itself does not know a proxy again whose address comes with a port, and would take it
 * for the caller.
 *
 * @param setting how many proxies there are; or their addresses and subnets
 */
export function trustedProxies(setting: number | readonly string[]): number | ((address: string) => boolean) {
  if (typeof setting === 'number') return setting;
  const trusted = new BlockList();
  for (const entry of setting.flatMap((one) => NAMED_SUBNETS[one] ?? [one])) {
    const [address = '', prefix] = entry.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    if (prefix === undefined) trusted.addAddress(address, family);
    else trusted.addSubnet(address, Number(prefix), family);
  }
  return (text) => {
    const address = parse(text);
    return address !== undefined && trusted.check(address.toString(), address.kind());
  };
}

/** The IPv6 ranges whose last four bytes are the caller's IPv4 address: mapped, and translated (RFC 6145, RFC 6052). */
const HOLDS_IPV4: ReadonlySet<string> = new Set(['ipv4Mapped', 'rfc6145', 'rfc6052']);

/** Reads an address as proxies write it: with a port, in brackets or quotes, with a zone, in capitals, IPv4 within IPv6. */
function parse(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  const unquoted = text.trim().replace(/^"(.*)"$/, '$1');
  const [, inBrackets] = /^\[([^\]]*)\](?::\d+)?$/.exec(unquoted) ?? [];
  const readings = [inBrackets ?? unquoted, unquoted.replace(/:\d+$/, '')];
  const bare = readings.map((reading) => reading.replace(/%.*$/, '')).find((reading) => isIP(reading) !== 0);
  if (bare === undefined) return undefined;
  if (isIP(bare) === 4) return ipaddr.IPv4.parse(bare);
  // As in a URL, because the library does not read every address whose end is written as IPv4.
  const address = ipaddr.IPv6.parse(new URL(`http://[${bare}]`).hostname.slice(1, -1));
  return HOLDS_IPV4.has(address.range()) ? new ipaddr.IPv4(address.toByteArray().slice(12)) : address;
}
