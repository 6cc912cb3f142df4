import { RingError } from '../ring/errors.js';

/** There is no pair any more with which Ring could be called: the link has ended, or has to be made again. */
export class NoLinkError extends Error {
  override readonly name = 'NoLinkError';
}

/**
 * There is no valid access token at the moment. The call that wants one was not sent, so it may be sent later; whatever
 * Ring answered to the refresh must not be taken for its answer to that call.
 */
export class NotRefreshedError extends RingError {
  /** @param ringsAnswer what became of the refresh, if it was this caller's */
  constructor(
    pauseMs: number,
    readonly ringsAnswer?: RingError,
  ) {
    super('unreachable', 'POST /oauth/token', { retryAfterSeconds: Math.ceil(pauseMs / 1_000), cause: ringsAnswer });
  }
}
