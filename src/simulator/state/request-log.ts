import type { AnswerFault } from './faults.js';

const REQUESTS_KEPT = 10_000;

/** The facts of a request that are not secret. */
export interface RequestFacts {
  grant_type?: string | undefined;
  account_identifier?: string | undefined;
  requested_status?: string | undefined;
  device_id?: string | undefined;
  /** The caller's `X-Request-Id`. */
  request_id?: string | undefined;
  /** The body of a request for a picture or clip. */
  asked?: string | undefined;
  /** Recorded for a request to the media host only, where a token does not belong. */
  authorization?: 'present' | 'absent' | undefined;
}

/** One request that Ring received. */
export interface RecordedRequest extends RequestFacts {
  method: string;
  path: string;
  /** epoch ms */
  at: number;
  /** The account of the code or token that came with the request; null if Ring doesn't know it. */
  account_id: string | null;
  /** The status of the answer; null before it is sent, or if none was sent. */
  status: number | null;
  /** The status that Ring itself decided on; null if a fault kept Ring from handling the request. */
  effect_status: number | null;
  /** The fault that the request met. */
  fault: AnswerFault['kind'] | null;
}

/** The requests that Ring received, oldest first. The oldest are dropped when there are too many. */
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
