import type { AnswerFault } from './faults.js';

const REQUESTS_KEPT = 10_000;

/** What a request asked for, as far as it is no secret. */
export interface RequestFacts {
  grant_type?: string | undefined;
  account_identifier?: string | undefined;
  requested_status?: string | undefined;
  device_id?: string | undefined;
  /** What the caller sent as `X-Request-Id`. */
  request_id?: string | undefined;
  /** Of a request to the media host, where no token belongs. */
  authorization?: 'present' | 'absent' | undefined;
}

/** One request that Ring received. */
export interface RecordedRequest extends RequestFacts {
  method: string;
  path: string;
  /** epoch ms */
  at: number;
  /** Whose code or token came with it; null when Ring doesn't know it. */
  account_id: string | null;
  /** What the caller was answered; null while, or because, it got no answer. */
  status: number | null;
  /** What Ring itself made of it; null when a fault kept Ring from handling it. */
  effect_status: number | null;
  /** The fault it met. */
  fault: AnswerFault['kind'] | null;
}

/** The requests that Ring received, oldest first; the oldest are forgotten. */
export class RequestLog {
  readonly #requests: RecordedRequest[] = [];

  list(): readonly RecordedRequest[] {
    return this.#requests;
  }

  /** Starts the record of a request that has just arrived; the caller completes it as the answer goes out. */
  begin(request: Omit<RecordedRequest, 'status' | 'effect_status' | 'fault'>): RecordedRequest {
    const record: RecordedRequest = { ...request, status: null, effect_status: null, fault: null };
    this.#requests.push(record);
    if (this.#requests.length > REQUESTS_KEPT) this.#requests.shift();
    return record;
  }
}
