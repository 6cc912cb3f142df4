import type { KeyObject } from 'node:crypto';
import { type ErrorRequestHandler, type Request, type RequestHandler, Router } from 'express';
import type { Core } from '../core.js';
import { isDatabaseUnavailable } from '../database/unavailable.js';
import { type BodyLimits, createBodies, HungUpError } from '../http/bodies.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { networkOf } from '../http/networks.js';
import { type Inbox, InboxUnavailableError } from '../inbox/inbox.js';
import { type ParsedEvent, parseEvent } from '../ring/events.js';
import { hasSignature, isSignedByRing } from '../ring/signature.js';

const PATH = '/webhooks/ring';
/** In bytes. A network has room for some thousand deliveries: Ring sends from few. */
export const BODIES: BodyLimits = {
  limit: 256 * 1_024,
  mostHeld: 64 * 1_024 * 1_024,
  mostHeldOfSender: 8 * 1_024 * 1_024,
};
/** A delivery that takes longer, in ms, is told in the log. Ring gives up after 5 s. */
const SLOW_MS = 1_000;

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
 * Ring's Webhook URL: verify, parse, store, answer. Everything else happens later, when the event is applied. It is the
 * busiest route by far, so it stands before all middleware and reads, logs and answers by itself, with no header that only
 * browsers need.
 *
 * To Ring a 4xx is final and a 5xx a reason to deliver again, so a passing fault is never answered by a 4xx.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function webhookReceiver({ inbox, hmacKey, log, onDelivery }: ReceiverDependencies): Router {
  const bodies = createBodies(BODIES);
  const router = Router();
  const route = router.route(PATH);
  // The signature is over the raw bytes, so any Content-Type is taken and nothing is decompressed.
  route.post(signedOnly, (request, response) =>
    bodies.use(request, networkOf(request.ip).own, async (body) => {
      const startedAt = performance.now();
      if (!isSignedByRing(hmacKey, request.get('x-signature'), body)) throw badSignature();
      const parsed = parseEvent(body);
      if (parsed.kind === 'malformed') throw new HttpError(400, `${parsed.field}: ${parsed.problem}`);
      const { event } = parsed;
      const outcome = await inbox.store({ event, body: body.toString('utf8') });
      onDelivery(outcome, event);
      response.writeHead(200, { 'Content-Length': 0 }).end();
      const ms = Math.round(performance.now() - startedAt);
      log[ms > SLOW_MS ? 'warn' : 'debug']({ request: event.requestId, path: PATH, status: 200, ms }, outcome);
    }),
  );
  route.all(methodNotAllowed('POST'));
  const refused: ErrorRequestHandler = (error: unknown, request, response, next) => {
    if (error instanceof HungUpError) {
      response.destroy();
      return;
    }
    const isPassing = error instanceof InboxUnavailableError || isDatabaseUnavailable(error);
    const answer = isPassing ? asUnavailable(error) : error;
    const status = answer instanceof HttpError ? answer.status : 500;
    const outcome = outcomeOf(status, request);
    const line = { method: request.method, path: PATH, status };
    // Only Ring sees our answers: without a line a wrong key, or an event that has changed, would go unnoticed.
    if (status >= 500) log.error({ ...line, err: error }, 'a webhook was not stored');
    else {
      const detail = (error as Error).message;
      log[outcome === 'unsigned' ? 'info' : 'warn']({ ...line, detail }, `a webhook was refused: ${outcome}`);
    }
    if (request.method === 'POST') onDelivery(outcome);
    next(answer);
  };
  router.use(PATH, refused, problemDetails);
  return router;
}

/** Nothing is read of what is not even signed: strangers must not take the room that Ring's deliveries need. */
const signedOnly: RequestHandler = (request, _response, next) => {
  if (!isSigned(request)) throw badSignature();
  next();
};

const isSigned = (request: Request): boolean => hasSignature(request.get('x-signature'));

function outcomeOf(status: number, request: Request): DeliveryOutcome {
  if (status === 401) return isSigned(request) ? 'bad_signature' : 'unsigned';
  if (status === 413) return 'too_large';
  return status < 500 ? 'malformed' : 'unavailable';
}

const badSignature = (): HttpError =>
  new HttpError(401, 'X-Signature is not "sha256=" and the hex HMAC-SHA256 of the body under RING_HMAC_KEY.');

const asUnavailable = (cause: unknown): HttpError =>
  new HttpError(503, 'The event could not be stored. Please deliver it again.', { retryAfterSeconds: 5, cause });
