import { json, type RequestHandler, Router, urlencoded } from 'express';
import { z } from 'zod';
import { BODY_LIMITS } from '../http/body-limits.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { networkOf } from '../http/networks.js';
import { limitNetwork, type RateLimits } from '../http/rate-limits.js';
import { type CodeTurns, createCodeTurns } from './code-turns.js';
import type { CodeExchange, ExchangeOutcome } from './exchange.js';

/** RFC 6749 appendix A.11: visible ASCII and space. */
const AuthorizationCode = z
  .string()
  .min(1)
  .max(4_096)
  .regex(/^[\x20-\x7e]+$/);

const Sent = z.object({ code: AuthorizationCode.optional() });

const NO_CODE =
  'Send the authorization code as "code": once, as text, in a JSON body, a form body or the query string.';

export interface TokenCallbackDependencies {
  codes: CodeExchange;
  limits: RateLimits;
  /** Called for each request of which Ring was not asked, because of too many codes or too many bad ones. */
  onTurnedAway: () => void;
}

/** `POST /ring/token`: the Token Exchange URL, which Ring calls with an authorization code. */
export function tokenCallback({ codes, limits, onTurnedAway }: TokenCallbackDependencies): Router {
  const turns = createCodeTurns(limits, onTurnedAway);
  const router = Router();
  const route = router.route('/ring/token');
  route.post(
    enter(turns),
    limitNetwork(limits.tokenExchange),
    json({ limit: BODY_LIMITS.code, type: ['json', '+json'] }),
    urlencoded({ limit: BODY_LIMITS.code, extended: false, parameterLimit: 50 }),
    async (request, response) => {
      const code = codeOf(request.body, request.query);
      if (code === undefined) throw new HttpError(400, NO_CODE);
      const outcome = await codes.exchange(code, () => turns.take(networkOf(request.ip)));
      if (outcome !== 'STORED') throw answerTo(outcome);
      response.set('Cache-Control', 'no-store').json({ status: 'stored' });
    },
  );
  route.all(methodNotAllowed('POST'));
  router.use('/ring/token', problemDetails);
  return router;
}

/** Comes first, so that a flood waits at the door and asks nothing of Postgres. */
function enter(turns: CodeTurns): RequestHandler {
  return async (request, response, next) => {
    const leave = await turns.enter(networkOf(request.ip));
    // A caller that has hung up while it waited closes nothing any more.
    if (response.closed) {
      leave();
      return;
    }
    response.once('close', leave);
    next();
  };
}

/** The code in body or query, or undefined when there is none, a malformed one, or two that differ. */
function codeOf(body: unknown, query: unknown): string | undefined {
  const inBody = Sent.safeParse(body ?? {});
  const inQuery = Sent.safeParse(query);
  if (!inBody.success || !inQuery.success) return undefined;
  const codes = new Set([inBody.data.code, inQuery.data.code].filter((code) => code !== undefined));
  return codes.size === 1 ? [...codes][0] : undefined;
}

function answerTo(outcome: Exclude<ExchangeOutcome, 'STORED'>): HttpError {
  switch (outcome) {
    case 'REFUSED':
      return new HttpError(400, 'Ring does not accept this authorization code. It lives 60 seconds and works once.');
    case 'FAILED':
      return new HttpError(502, 'Ring did not answer the exchange of this code with a token pair.');
    case 'MISCONFIGURED':
      return new HttpError(502, 'Ring does not accept the client credentials of this service.');
    case 'UNCERTAIN':
      return new HttpError(
        503,
        'The exchange of this code got no answer, so the code may be used up and is not tried again. ' +
          'Remove the app in the Ring app and add it again.',
      );
    case 'UNSETTLED':
      return new HttpError(503, 'The exchange of this code takes long. Send it again to learn what has come of it.', {
        retryAfterSeconds: 5,
      });
    case 'NOT_SENT':
      return new HttpError(503, 'Ring could not be asked to exchange this code. Send it again.', {
        retryAfterSeconds: 1,
      });
  }
}
