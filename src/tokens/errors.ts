import { RingError } from '../ring/errors.js';

/** Ring can't be called, because the link has ended or has to be made again. The `cause` is Ring's refusal, if there was one. */
export class NoLinkError extends Error {
  override readonly name = 'NoLinkError';
}

/**
 * There is no valid access token at the moment. The call that needs it was not sent, so it may be sent later. Ring's answer
 * to the refresh must not be taken for its answer to that call.
 */
export class NotRefreshedError extends RingError {
  /** @param ringsAnswer why Ring did not refresh the pair, when this caller has asked it */
  constructor(
    pauseMs: number,
    readonly ringsAnswer?: RingError,
  ) {
    super('unreachable', 'POST /oauth/token', { retryAfterSeconds: Math.ceil(pauseMs / 1_000), cause: ringsAnswer });
  }
}
