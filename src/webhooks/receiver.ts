import type { KeyObject } from 'node:crypto';
import { type ErrorRequestHandler, raw, type Request, type Response, Router } from 'express';
import type { Logger } from 'pino';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { type ParsedEvent, parseEvent } from '../ring/events.js';
import { isSignedByRing } from '../ring/signature.js';
import { type Inbox, InboxUnavailableError } from './inbox.js';

const PATH = '/webhooks/ring';
const BODY_LIMIT = '256kb';

/** What became of one delivery. */
export type DeliveryOutcome = 'stored' | 'duplicate' | 'bad_signature' | 'malformed' | 'too_large' | 'unavailable';

/** What is known of an event that was delivered. */
export type DeliveredEvent = Pick<Exclude<ParsedEvent, { kind: 'malformed' }>['event'], 'type' | 'sentAt'>;

export interface ReceiverDependencies {
  inbox: Inbox;
  hmacKey: KeyObject;
  log: Logger;
  /** Hears of each delivery; of the event itself only what is signed and can be read. */
  onDelivery: (outcome: DeliveryOutcome, event?: DeliveredEvent) => void;
}

/**
 * Ring's Webhook URL: verify, parse, store, answer. Everything else happens later, in the jobs that the inbox adds.
 *
 * To Ring a 4xx is final and a 5xx a reason to deliver again, so a passing fault is never a 4xx.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function webhookReceiver({ inbox, hmacKey, log, onDelivery }: ReceiverDependencies): Router {
  const router = Router();
  const route = router.route(PATH);
  const unreadable: ErrorRequestHandler = (error: { status?: unknown; type?: unknown }, _request, _response, next) => {
    // Whoever hung up in the middle has delivered nothing.
    if (error.type !== 'request.aborted') onDelivery(error.status === 413 ? 'too_large' : 'malformed');
    next(error);
  };
  // The signature is over the bytes as they came, whatever they are said to be.
  route.post(
    raw({ type: () => true, limit: BODY_LIMIT, inflate: false }),
    unreadable,
    async (request: Request, response: Response) => {
      const body = rawBody(request);
      if (!isSignedByRing(hmacKey, request.get('x-signature'), body)) {
        onDelivery('bad_signature');
        // Ring reads our answers and tells nobody: a wrong key would show nowhere else.
        log.warn('a webhook was refused: its signature does not fit RING_HMAC_KEY');
        throw new HttpError(
          401,
          'X-Signature is not "sha256=" and the hex HMAC-SHA256 of the body under our signing key.',
        );
      }
      const parsed = parseEvent(body);
      if (parsed.kind === 'malformed') {
        onDelivery('malformed');
        const detail = `${parsed.field}: ${parsed.problem}`;
        log.warn({ detail }, 'a webhook was refused: it is malformed');
        throw new HttpError(400, detail);
      }
      const { event } = parsed;
      // Ring's own name for it goes on with the event, into the jobs that it causes.
      response.requestId = event.requestId;
      const stored = await inbox.store({ event, body: body.toString('utf8') }).catch((error: unknown) => {
        onDelivery('unavailable', event);
        throw asUnavailable(error);
      });
      onDelivery(stored, event);
      response.status(200).end();
    },
  );
  route.all(methodNotAllowed('POST'));
  router.use(PATH, problemDetails);
  return router;
}

function rawBody({ body }: Request): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

function asUnavailable(error: unknown): unknown {
  if (!(error instanceof InboxUnavailableError)) return error;
  return new HttpError(503, 'The event could not be stored. Please deliver it again.', {
    retryAfterSeconds: 5,
    cause: error,
  });
}
