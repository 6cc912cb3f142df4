import { BlockList, isIP } from 'node:net';
import type { Request, RequestHandler } from 'express';
import { Gauge, type Registry } from 'prom-client';
import type { Core } from '../core.js';
import type { CallReport } from '../ring/transport.js';
import type { DeliveryOutcome } from '../webhooks/receiver.js';

/** What can be wrong with the set-up and only shows when somebody calls. The names are labels of a metric. */
type Problem = 'forwarded_proto' | 'forwarded_for' | 'webhook_signatures' | 'ring_clock';

/** Looks for such problems in what comes by, and tells of each: in the log, by a metric, and in `/readyz`. */
export interface SetUpSigns {
  /** Looks at each request and lets it pass. */
  observe: RequestHandler;
  onDelivery: (outcome: DeliveryOutcome) => void;
  onCall: (report: Pick<CallReport, 'ringTime' | 'durationMs'>) => void;
  /** What is wrong at present, in words that say what to do. */
  warnings: () => string[];
}

export interface SetUpSignsOptions extends Pick<Core, 'clock' | 'log' | 'linkClockSkewSeconds'> {
  production: boolean;
  registry: Registry;
}

interface Sign {
  /** How many wrong ones in a row make a problem while none has been right. */
  first: number;
  /** The same once one has been right: it may be a stranger then, and the next right one ends it. */
  later: number;
  warning: string;
}

/** Clocks that are this far apart, in s, are not told of: Ring names whole seconds, and calls take their time. */
const SMALLEST_DIFFERENCE = 5;

const isProbe = ({ path }: Request): boolean => ['/livez', '/readyz', '/metrics'].includes(path);
/** A load balancer that asks another address than `/readyz` how we are does not forward anybody's request. */
const isHealthCheck = (request: Request): boolean => /health|probe|googlehc/i.test(request.get('user-agent') ?? '');

/** The networks of proxies, and of nobody on the internet. */
const INSIDE = new BlockList();
for (const [network, prefix] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  INSIDE.addSubnet(network, prefix);
}
INSIDE.addSubnet('fc00::', 7, 'ipv6');
INSIDE.addAddress('::1', 'ipv6');

/**
 * Whether `X-Forwarded-For` names the caller. Express looks into it only if it trusts who has sent it. It stops too early at
 * another proxy, which is inside and was itself called by somebody.
 */
function isTrusted({ ip = '', ips }: Request, addresses: number): boolean {
  if (ips.length === 0) return false;
  const caller = ip.replace(/^::ffff:/i, '');
  const isInside = isIP(caller) !== 0 && INSIDE.check(caller, isIP(caller) === 6 ? 'ipv6' : 'ipv4');
  return !(isInside && addresses > ips.length);
}

/** @param options.registry gets the gauge */
export function createSetUpSigns(options: SetUpSignsOptions): SetUpSigns {
  const { production, clock, log, registry } = options;
  const limitSeconds = Math.max(options.linkClockSkewSeconds, SMALLEST_DIFFERENCE);
  const signs: Readonly<Record<Problem, Sign>> = {
    forwarded_proto: {
      first: 1,
      later: 20,
      warning:
        'X-Forwarded-Proto: requests do not say https, so browsers get no session and every form is refused; expected a proxy that ends TLS and sets X-Forwarded-Proto: https',
    },
    forwarded_for: {
      first: 1,
      later: 20,
      warning:
        'TRUST_PROXY: X-Forwarded-For comes from a proxy that it does not name, so everybody counts as one address; expected the number of proxies in front, or their addresses or subnets',
    },
    webhook_signatures: {
      first: 3,
      later: 20,
      warning:
        'RING_HMAC_KEY: webhooks come, and none is signed with it; expected the HMAC signing key of this app, as Ring’s console shows it',
    },
    ring_clock: {
      first: 1,
      later: 5,
      warning: `the clock: Ring’s and ours are more than ${limitSeconds} s apart, so that redirects count as old or as from the future; expected a clock that is set by NTP`,
    },
  };
  const problems = Object.keys(signs) as Problem[];
  /** How many wrong ones there were since the last right one. */
  const wrong = new Map<Problem, number>();
  const wasRight = new Set<Problem>();
  const present = new Set<Problem>();

  function see(problem: Problem, isRight: boolean): void {
    const { first, later, warning } = signs[problem];
    if (isRight) {
      wrong.delete(problem);
      wasRight.add(problem);
      if (present.delete(problem)) log.info({ problem }, 'a problem of the set-up is over');
      return;
    }
    const times = (wrong.get(problem) ?? 0) + 1;
    wrong.set(problem, times);
    if (present.has(problem) || times < (wasRight.has(problem) ? later : first)) return;
    present.add(problem);
    log.error({ problem }, warning);
  }

  new Gauge({
    name: 'ring_link_set_up_problem',
    help: 'Whether what has come to this process shows that its set-up is wrong, by problem.',
    labelNames: ['problem'],
    registers: [registry],
    collect() {
      for (const problem of problems) this.set({ problem }, present.has(problem) ? 1 : 0);
    },
  });

  return {
    observe(request, _response, next) {
      if (!isProbe(request) && !isHealthCheck(request)) {
        // As the session's cookie is decided on: by the first of several.
        if (production) see('forwarded_proto', /^\s*https\s*(?:,|$)/i.test(request.get('x-forwarded-proto') ?? ''));
        const addresses = (request.get('x-forwarded-for') ?? '')
          .split(',')
          .filter((entry) => entry.trim() !== '').length;
        if (addresses > 0) see('forwarded_for', isTrusted(request, addresses));
      }
      next();
    },
    onDelivery(outcome) {
      if (outcome === 'bad_signature') see('webhook_signatures', false);
      if (outcome === 'stored' || outcome === 'duplicate') see('webhook_signatures', true);
    },
    onCall({ ringTime, durationMs }) {
      if (ringTime === undefined) return;
      // Ring wrote it at some time during the call, and cut off the fraction of its second.
      const aheadMs = ringTime.getTime() - clock().getTime();
      const behindMs = -aheadMs - durationMs - 1_000;
      see('ring_clock', Math.max(aheadMs, behindMs) <= limitSeconds * 1_000);
    },
    warnings: () => problems.filter((problem) => present.has(problem)).map((problem) => signs[problem].warning),
  };
}
