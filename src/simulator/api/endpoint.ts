import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Request, RequestHandler, Response } from 'express';
import type { AnswerFault, MediaErrorCode, RingEndpointName, RingFault } from '../state/faults.js';
import type { RecordedRequest, RequestFacts } from '../state/request-log.js';
import type { Simulation } from '../state/state.js';

/** The parts of a request that Ring reads. */
export interface RingRequest {
  method: string;
  authorization: string | undefined;
  /** The host as the caller wrote it: `name` or `name:port`. */
  host: string;
  /** The named parts of the path. */
  params: Record<string, string | undefined>;
  query: URLSearchParams;
  /** The media type without parameters, in lower case. */
  contentType: string;
  /** The `Range` header. */
  range: string | undefined;
  body: string;
}

export interface RingAnswer {
  status: number;
  headers: Record<string, string>;
  body: string | Uint8Array;
}

/** One endpoint of Ring. It decides on the answer. `serve` sends it, records the request and applies faults. */
export interface RingEndpoint {
  /** The name for faults; null for an endpoint that never has one. */
  name: RingEndpointName | null;
  /** The record of a request, made whether or not the request is handled. Changes nothing. */
  recordOf(request: RingRequest): { account_id: string | null; facts: RequestFacts };
  handle(request: RingRequest): RingAnswer | Promise<RingAnswer>;
  /** The answer for a fault of the kind `status`. Only media errors have a code. */
  fail(status: number, code?: MediaErrorCode): RingAnswer;
}

type Reaction = { kind: 'answer'; answer: RingAnswer } | { kind: 'reset' } | { kind: 'silence' };

/** Serves an endpoint over HTTP: records the request, applies the waiting fault, answers. Needs the body as text. */
export function serve(simulation: Simulation, endpoint: RingEndpoint): RequestHandler {
  return async (request, response) => {
    // A reset replaces the state; a request finishes with the state that it began with.
    const { state } = simulation;
    const { signal } = state.lifetime;
    const ringRequest = readRequest(request);
    const { account_id, facts } = endpoint.recordOf(ringRequest);
    const record = state.requests.begin({
      method: request.method,
      path: request.baseUrl + request.path,
      at: simulation.now(),
      account_id,
      request_id: request.get('x-request-id'),
      ...facts,
    });
    const { standing } = state.faults;
    const fault = endpoint.name === null ? undefined : state.faults.takeFor(endpoint.name);
    record.fault = fault?.fault.kind ?? null;

    const limit = state.requestLimit.take(simulation.now());
    const isRefused = limit.isOver && state.settings.requestLimit === 'enforced';
    const handle = async (): Promise<RingAnswer> => {
      const answer = isRefused ? withRetryAfter(endpoint.fail(429), 1) : await endpoint.handle(ringRequest);
      record.effect_status = answer.status;
      return answer;
    };
    try {
      const reaction = await react(fault, handle, (...failure) => endpoint.fail(...failure), { signal, standing });
      response.setHeaders(new Map(Object.entries(limit.headers)));
      await carryOut(reaction, record, response, signal);
    } catch (error) {
      // The simulator was reset or closed while a fault held this request.
      if (!signal.aborted) throw error;
      response.destroy();
    } finally {
      simulation.log(recordLine(record));
    }
  };
}

function readRequest(request: Request): RingRequest {
  const body: unknown = request.body;
  const [contentType = ''] = (request.headers['content-type'] ?? '').split(';');
  return {
    method: request.method,
    authorization: request.headers.authorization,
    host: request.headers.host ?? 'localhost',
    params: Object.fromEntries(Object.entries(request.params).map(([name, value]) => [name, String(value)])),
    query: new URLSearchParams(request.url.split('?')[1]),
    contentType: contentType.trim().toLowerCase(),
    range: request.headers.range,
    body: typeof body === 'string' ? body : '',
  };
}

/** The signals that end the wait of a late request. */
interface HoldEnds {
  /** Aborted when the simulator is reset or closed. */
  signal: AbortSignal;
  /** Aborted when the list of faults is replaced. */
  standing: AbortSignal;
}

async function react(
  fault: RingFault | undefined,
  handle: () => Promise<RingAnswer>,
  fail: RingEndpoint['fail'],
  ends: HoldEnds,
): Promise<Reaction> {
  if (fault === undefined) return { kind: 'answer', answer: await handle() };
  if (fault.when === 'before') return misbehave(fault.fault, handle, fail, ends);
  const answer = await handle();
  return misbehave(fault.fault, () => Promise.resolve(answer), fail, ends);
}

async function misbehave(
  fault: AnswerFault,
  rightAnswer: () => Promise<RingAnswer>,
  fail: RingEndpoint['fail'],
  { signal, standing }: HoldEnds,
): Promise<Reaction> {
  switch (fault.kind) {
    case 'delay':
      await sleep(fault.ms, undefined, { signal });
      return { kind: 'answer', answer: await rightAnswer() };
    case 'hold':
      if (!standing.aborted) await once(standing, 'abort', { signal });
      return { kind: 'answer', answer: await rightAnswer() };
    case 'status':
      return { kind: 'answer', answer: withRetryAfter(fail(fault.status, fault.code), fault.retryAfterSeconds) };
    case 'body':
      return {
        kind: 'answer',
        answer: { status: fault.status, headers: { 'Content-Type': fault.contentType }, body: fault.body },
      };
    case 'large-body':
      return { kind: 'answer', answer: largeAnswer(fault) };
    case 'reset':
    case 'silence':
      return { kind: fault.kind };
  }
}

function largeAnswer(fault: Extract<AnswerFault, { kind: 'large-body' }>): RingAnswer {
  return {
    status: fault.status,
    headers: {
      'Content-Type': fault.contentType,
      ...(fault.announced && { 'Content-Length': String(fault.sizeBytes) }),
    },
    body: Buffer.alloc(fault.sizeBytes, 'x'),
  };
}

function withRetryAfter(answer: RingAnswer, seconds: number | undefined): RingAnswer {
  const headers = {
    ...answer.headers,
    ...(answer.status === 429 && { 'X-RateLimit-Limit': '100', 'X-RateLimit-Remaining': '0' }),
    ...(seconds !== undefined && { 'Retry-After': String(seconds) }),
  };
  return { ...answer, headers };
}

async function carryOut(
  reaction: Reaction,
  record: RecordedRequest,
  response: Response,
  signal: AbortSignal,
): Promise<void> {
  switch (reaction.kind) {
    case 'answer':
      record.status = reaction.answer.status;
      response.writeHead(reaction.answer.status, reaction.answer.headers).end(reaction.answer.body);
      return;
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'silence':
      await once(response, 'close', { signal });
      return;
  }
}

function recordLine(record: RecordedRequest): string {
  const words = [record.method, record.path, record.grant_type, `-> ${record.status ?? 'no answer'}`];
  if (record.fault !== null) words.push(`(fault: ${record.fault})`);
  return words.filter((word) => word !== undefined).join(' ');
}
