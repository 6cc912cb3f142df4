import { ownUrl, withFilter } from '../ring/client.js';
import { RingError } from '../ring/errors.js';
import { downloadPicture } from '../ring/media.js';
import { isoTime } from '../ring/text.js';
import { type Answer, type Call, createTransport, failure, type Transport } from '../ring/transport.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { compare } from './comparison.js';
import { isContainer } from './json.js';
import {
  deviceQuestions,
  devicesQuestion,
  historyQuestions,
  type PictureQuestion,
  pictureQuestions,
  type Question,
  subscriptionsQuestion,
  userQuestion,
} from './questions.js';
import { newRow, note, type Report, type Row } from './report.js';

export interface CheckOptions {
  apiUrl: string;
  token: string;
  /** The limit for one call, answer included, in ms. */
  timeoutMs?: number;
  /** Our clock, in epoch ms. */
  now: () => number;
  pause: (ms: number) => Promise<void>;
  /** Is given each answer in JSON, and what its record is to be named. */
  record?: (name: string, answer: unknown) => void;
}

/** Of a list that goes on, no more pages are read. */
const MAX_PAGES = 3;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** How often a question is asked while Ring says that it is asked too much. */
const MAX_ATTEMPTS = 4;
const MAX_BACKOFF_MS = 60_000;

/**
 * Asks Ring everything that can be read and holds the answers against our own schemas. Nothing is changed at Ring.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export async function checkRing(options: CheckOptions): Promise<Report> {
  const { rows, clock, rowOf, ask, askPages, askForPicture } = createAsker(options);
  const report = (isTokenRefused: boolean): Report => ({ rows: [...rows.values()], clock, isTokenRefused });

  const pages = await askPages(devicesQuestion, ({ count }) => count);
  if ([...rowOf(devicesQuestion.asked).why].some((why) => why.startsWith('401'))) return report(true);
  await ask(userQuestion);
  const devices = pages.flatMap((page) => page.devices);
  // What can't be asked still has its row.
  for (const { asked } of questionsAbout('none', 1, options.now())) rowOf(asked);
  for (const [index, { id, capabilities }] of devices.entries()) {
    for (const question of deviceQuestions(id, index + 1)) await ask(question);
    for (const question of historyQuestions(id, index + 1)) await askPages(question, ({ data }) => data.count);
    // A device without video has no pictures.
    if (capabilities !== undefined && capabilities.video === undefined) continue;
    const ringsNow = options.now() + (clock.dateHeader ?? 0) * 1_000;
    for (const question of pictureQuestions(id, index + 1, ringsNow)) await askForPicture(question);
  }
  await askPages(subscriptionsQuestion, ({ data }) => data.length);
  return report(false);
}

const questionsAbout = (deviceId: string, number: number, now: number): { asked: string }[] => [
  ...deviceQuestions(deviceId, number),
  ...historyQuestions(deviceId, number),
  ...pictureQuestions(deviceId, number, now),
];

/** Asks the questions, one after the other, and notes what became of each. */
function createAsker(options: CheckOptions) {
  const rows = new Map<string, Row>();
  const clock: Report['clock'] = { dateHeader: undefined, metaTime: undefined };
  /** What the record of the next answer is to be named. */
  let recordName = '';
  const transport = listening(
    createTransport({ ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }) }),
  );

  function rowOf(asked: string): Row {
    const row = rows.get(asked) ?? newRow(asked);
    rows.set(asked, row);
    return row;
  }

  /** The transport, which notes Ring's time and has answers recorded. */
  function listening(inner: Transport): Transport {
    return {
      ...inner,
      exchange(call, read) {
        const sentAt = options.now();
        return inner.exchange(call, (answer) => {
          hear(answer, sentAt);
          return read(answer);
        });
      },
    };
  }

  function hear(answer: Answer, sentAt: number): void {
    clock.dateHeader ??= ahead(dateOf(answer), (sentAt + options.now()) / 2);
    const json = parseJson(answer.body);
    if (json === undefined || answer.status === 429) return;
    if (isContainer(json) && isContainer(json.meta)) {
      clock.metaTime ??= ahead(isoTime.safeParse(json.meta.time).data?.getTime(), options.now());
    }
    const isGood = answer.status >= 200 && answer.status <= 299;
    options.record?.(isGood ? recordName : `${recordName}.${answer.status}`, json);
  }

  /** Makes a call again while Ring says that there were too many. @throws {RingError} */
  async function patiently<Value>(attempt: () => Promise<Value>): Promise<Value> {
    for (let count = 1; ; count++) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof RingError && error.kind === 'rate-limited') || count === MAX_ATTEMPTS) throw error;
        await options.pause(retryPauseMs(count, MAX_BACKOFF_MS, error.retryAfterSeconds));
      }
    }
  }

  const authorized = (call: Call): Call => ({
    ...call,
    headers: { accept: 'application/json', authorization: `Bearer ${options.token}`, ...call.headers },
  });

  /** Asks a question and notes how the answer fits. Undefined when nothing could be read of it. */
  async function ask<Parsed>(question: Question<Parsed>): Promise<Parsed | undefined> {
    const row = rowOf(question.asked);
    const url = question.target.startsWith('/') ? options.apiUrl + question.target : question.target;
    const call = authorized({ name: question.endpoint, url, method: 'GET', maxBytes: MAX_ANSWER_BYTES });
    recordName = question.record;
    let answer: Answer;
    try {
      answer = await patiently(() =>
        transport.exchange(call, (given) => {
          if (given.status < 200 || given.status > 299) throw failure(call.name, given);
          return given;
        }),
      );
    } catch (error) {
      noteFailure(row, error, (status) => question.notOffered?.includes(status) === true);
      return undefined;
    }
    row.answers++;
    const raw = parseJson(answer.body);
    if (raw === undefined) {
      note(row, 'does not fit', answer.body === undefined ? 'more than 4 MiB' : 'no JSON');
      return undefined;
    }
    const { parsed, lost, unread } = compare(question.schema, raw);
    for (const finding of lost) row.lost.add(finding);
    for (const finding of unread) row.unread.add(finding);
    note(row, lost.size === 0 ? 'fits' : 'does not fit');
    return parsed;
  }

  /** Asks for a list, a few pages of it. */
  async function askPages<Parsed extends { links?: { next?: string | null | undefined } | null | undefined }>(
    question: Question<Parsed>,
    countOf: (page: Parsed) => number,
  ): Promise<Parsed[]> {
    const pages: Parsed[] = [];
    let current = question;
    while (pages.length < MAX_PAGES) {
      const page = await ask(current);
      if (page === undefined) break;
      pages.push(page);
      const next = page.links?.next;
      if (next === undefined || next === null || countOf(page) === 0) break;
      const target = nextTarget(current, next);
      if (target === undefined) {
        note(rowOf(question.asked), 'does not fit', 'links.next leads to another host');
        break;
      }
      current = { ...question, target, record: `${question.record}-page-${pages.length + 1}` };
    }
    return pages;
  }

  /** The address of the next page, with the filter that Ring may have dropped. Undefined when it is not Ring's. */
  function nextTarget({ endpoint, target }: Question<unknown>, next: string): string | undefined {
    const here = new URL(target, options.apiUrl);
    try {
      const url = ownUrl({ name: endpoint, url: here.href }, next);
      const filter = here.searchParams.get('event_types');
      return filter === null ? url : withFilter(url, filter);
    } catch {
      return undefined;
    }
  }

  async function askForPicture({ asked, target, body, record, answers }: PictureQuestion): Promise<void> {
    const row = rowOf(asked);
    const call = authorized({
      name: 'POST /v1/devices/{id}/media/image/download',
      url: options.apiUrl + target,
      method: 'POST',
      ...(body !== undefined && { body, headers: { 'content-type': 'application/json' } }),
    });
    recordName = record;
    try {
      const { kind } = await patiently(() => downloadPicture(transport, call));
      row.answers++;
      note(row, 'fits', kind === 'picture' ? 'a picture' : 'encrypted');
    } catch (error) {
      const code = error instanceof RingError ? error.code : undefined;
      if (code !== undefined && answers.includes(code)) {
        row.answers++;
        note(row, 'fits', failureText(error));
      } else {
        noteFailure(row, error, () => code === 'TIME_RANGE_NOT_AUTHORIZED');
      }
    }
  }

  return { rows, clock, rowOf, ask, askPages, askForPicture };
}

/** Notes a call that brought nothing to read. A refusal counts as an answer. */
function noteFailure(row: Row, error: unknown, isNotOffered: (status: number) => boolean): void {
  if (!(error instanceof RingError)) throw error;
  const { kind, status } = error;
  if (status !== undefined) row.answers++;
  const isRings = kind === 'rejected' || kind === 'unauthorized';
  if (isRings && status !== undefined && isNotOffered(status)) note(row, 'not offered here', failureText(error));
  else note(row, 'does not fit', failureText(error));
}

/** Why there is nothing to read: the status and a code that we know, or what there was instead. */
function failureText(error: unknown): string {
  if (!(error instanceof RingError)) throw error;
  const { kind, status, code } = error;
  if (status === undefined) return kind === 'no-answer' ? 'no answer' : kind;
  if (kind !== 'malformed') return code === undefined || code.startsWith('unknown') ? `${status}` : `${status} ${code}`;
  if (status >= 300 && status <= 399) return `${status}, a redirect`;
  return status >= 400 ? `${status}, not in the form of an error` : `${status}, not in the form that was expected`;
}

/** By how many whole seconds Ring's time is ahead of ours. */
function ahead(rings: number | undefined, ours: number): number | undefined {
  return rings === undefined || Number.isNaN(rings) ? undefined : Math.round((rings - ours) / 1_000) || 0;
}

/** The middle of the second that the header tells. */
function dateOf({ headers }: Answer): number | undefined {
  const date = headers.get('date');
  return date === null ? undefined : Date.parse(date) + 500;
}

/** Undefined when it is no JSON. */
function parseJson(body: Buffer | undefined): unknown {
  try {
    return body && (JSON.parse(body.toString('utf8')) as unknown);
  } catch {
    return undefined;
  }
}
