import type { KeyObject } from 'node:crypto';
import { type ErrorRequestHandler, raw, type Request, type RequestHandler, type Response, Router } from 'express';
import type { Core } from '../core.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { type Inbox, InboxUnavailableError } from '../inbox/inbox.js';
import { type ParsedEvent, parseEvent } from '../ring/events.js';
import { hasSignature, isSignedByRing } from '../ring/signature.js';

const PATH = '/webhooks/ring';
const BODY_LIMIT = '256kb';

/** The ways in which a delivery can end. `unsigned`: a stranger's, for Ring signs everything that it sends. */
export const DELIVERY_OUTCOMES = [
  'stored',
  'duplicate',
  'unsigned',
  'bad_signature',
  'malformed',
  'too_large',
  'unavailable',
] as const;
export type DeliveryOutcome = (typeof DELIVERY_OUTCOMES)[number];

/** The part of a delivered event that is reported. */
export type DeliveredEvent = Pick<Exclude<ParsedEvent, { kind: 'malformed' }>['event'], 'type' | 'sentAt'>;

export interface ReceiverDependencies extends Pick<Core, 'log'> {
  inbox: Inbox;
  hmacKey: KeyObject;
  /** Called for each delivery, with its event if that is stored, now or before. */
  onDelivery: (outcome: DeliveryOutcome, event?: DeliveredEvent) => void;
}

/**
 * Ring's Webhook URL: verify, parse, store, answer. Everything else happens later, in the jobs that the inbox adds.
 *
 * To Ring a 4xx is final and a 5xx a reason to deliver again, so a passing fault is never answered by a 4xx.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function webhookReceiver({ inbox, hmacKey, log, onDelivery }: ReceiverDependencies): Router {
  const router = Router();
  const route = router.route(PATH);
  const refused: ErrorRequestHandler = (error: unknown, request, _response, next) => {
    const outcome = outcomeOf(error, hasSignature(request.get('x-signature')));
    if (outcome !== undefined) onDelivery(outcome);
    // Only Ring sees our answers: without this line a wrong key, or an event that has changed, would go unnoticed.
    if (outcome !== undefined && outcome !== 'unavailable') {
      log[outcome === 'unsigned' ? 'info' : 'warn'](
        { detail: error instanceof HttpError ? error.detail : undefined },
        `a webhook was refused: ${outcome}`,
      );
    }
    next(error instanceof InboxUnavailableError ? asUnavailable(error) : error);
  };
  // The signature is over the raw bytes, so any Content-Type is taken and nothing is decompressed.
  route.post(
    signedOnly,
    raw({ type: () => true, limit: BODY_LIMIT, inflate: false }),
    async (request: Request, response: Response) => {
      const body = rawBody(request);
      if (!isSignedByRing(hmacKey, request.get('x-signature'), body)) throw badSignature();
      const parsed = parseEvent(body);
      if (parsed.kind === 'malformed') throw new HttpError(400, `${parsed.field}: ${parsed.problem}`);
      const { event } = parsed;
      // Ring's request ID is in the log lines from here on, and in the jobs that the event causes.
      response.requestId = event.requestId;
      const stored = await inbox.store({ event, body: body.toString('utf8') });
      onDelivery(stored, event);
      response.status(200).end();
    },
    refused,
  );
  route.all(methodNotAllowed('POST'));
  router.use(PATH, problemDetails);
  return router;
}

/** Nothing is read of what is not even signed: strangers must not take the room that Ring's deliveries need. */
const signedOnly: RequestHandler = (request, _response, next) => {
  if (!hasSignature(request.get('x-signature'))) throw badSignature();
  next();
};

function rawBody({ body }: Request): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

/** The outcome of a delivery that failed; undefined when its sender hung up in the middle. */
function outcomeOf(error: unknown, isSigned: boolean): DeliveryOutcome | undefined {
  const { status, type } = error as { status?: unknown; type?: unknown };
  if (type === 'request.aborted') return undefined;
  if (status === 401) return isSigned ? 'bad_signature' : 'unsigned';
  if (status === 413) return 'too_large';
  return typeof status === 'number' && status < 500 ? 'malformed' : 'unavailable';
}

const badSignature = (): HttpError =>
  new HttpError(401, 'X-Signature is not "sha256=" and the hex HMAC-SHA256 of the body under RING_HMAC_KEY.');

const asUnavailable = (cause: InboxUnavailableError): HttpError =>
  new HttpError(503, 'The event could not be stored. Please deliver it again.', { retryAfterSeconds: 5, cause });
