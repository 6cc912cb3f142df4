/**
 * The kinds of failed calls, by what the caller can do about them:
 * - `rejected`: Ring understood and said no; final.
 * - `unauthorized`: the access token is not (or no longer) good.
 * - `rate-limited`, `unreachable`: Ring has certainly not acted; the same call may be sent again.
 * - `unavailable`, `no-answer`, `malformed`: Ring may have acted; only a call that is safe to repeat may be sent again.
 */
export type RingErrorKind =
  'rejected' | 'unauthorized' | 'rate-limited' | 'unreachable' | 'unavailable' | 'no-answer' | 'malformed';

export interface RingErrorDetails {
  status?: number;
  /** The RFC 6749 `error`, or the `title` or `code` of a JSON:API error, if we know it; never free text. */
  code?: string;
  retryAfterSeconds?: number;
  cause?: unknown;
}

/** A failed call to Ring. The message names the call and the kind, never a token, a code or a body. */
export class RingError extends Error {
  override readonly name = 'RingError';
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly kind: RingErrorKind,
    readonly call: string,
    details: RingErrorDetails = {},
  ) {
    const facts = [details.status, details.code].filter((fact) => fact !== undefined).join(' ');
    super(`Ring, ${call}: ${kind}${facts === '' ? '' : ` (${facts})`}`, { cause: details.cause });
    this.status = details.status;
    this.code = details.code;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }

  /** Whether Ring may have done what it was asked for. */
  get mayHaveActed(): boolean {
    return this.kind === 'unavailable' || this.kind === 'no-answer' || this.kind === 'malformed';
  }

  /** Whether Ring understood the call and said no, with this code if one is given. */
  isRefusal(code?: string): boolean {
    return this.kind === 'rejected' && (code === undefined || this.code === code);
  }

  /** Why the call failed, in words that a table may keep: no secret, no free text. */
  get reason(): string {
    return [this.kind, this.status, this.code].filter((fact) => fact !== undefined).join(' ');
  }
}

/** Why a call to Ring failed, in words that a table may keep. An error that is not Ring's is `internal`. */
export function reasonOf(error: unknown): string {
  return error instanceof RingError ? error.reason : 'internal';
}

/** Whether Ring says that the resource does not exist (any more), which is no outage. */
export function isGone(error: unknown): boolean {
  return error instanceof RingError && error.kind === 'rejected' && error.status === 404;
}
