import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { LiveViews } from './live-views.js';

const RECORDINGS_KEPT = 10_000;

/** A recording has a frame at its start, and one each second after that. */
const FRAME_EVERY_MS = 1_000;

/** The recording of a live view can be downloaded 1 to 2 s after the view was closed. The later time is the stricter. */
const LIVE_VIEW_READY_AFTER_MS = 2_000;

/** The reasons for which a device records. A `snapshot` is a single frame that Ring takes by itself, without an event. */
export const RECORDING_KINDS = ['motion', 'ding', 'on_demand', 'snapshot'] as const;
export type RecordingKind = (typeof RECORDING_KINDS)[number];

export const CONDITIONS = ['good', 'corrupt'] as const;

/** Something that a device has recorded. Nothing else has pictures or clips. */
export interface Recording {
  /** The ID of the event in history. It differs from the webhook's. */
  id: string;
  account_id: string;
  device_id: string;
  kind: RecordingKind;
  /** The class of a motion. */
  sub_type: string | null;
  /** epoch ms, both inclusive */
  start: number;
  end: number;
  /** Epoch ms. Before that, a download is answered 425. */
  ready_at: number;
  condition: (typeof CONDITIONS)[number];
}

/** A span of time in epoch ms, both ends inclusive. */
export interface Span {
  start: number;
  end: number;
}

/** A moment of a recording. */
export interface Frame {
  recording: Recording;
  /** epoch ms */
  at: number;
}

/** A recording as a script asks for it. What it leaves out is as for a motion just now. */
export const newRecordingSchema = z
  .strictObject({
    device_id: z.string().optional(),
    kind: z.enum(RECORDING_KINDS).default('motion'),
    sub_type: z.string().min(1).max(200).nullable().default(null),
    start: z.int().optional(),
    end: z.int().optional(),
    ready_at: z.int().optional(),
    condition: z.enum(CONDITIONS).default('good'),
  })
  .refine(({ start, end }) => start === undefined || end === undefined || start <= end, {
    error: 'start must not be after end',
    path: ['end'],
  });

/** Everything that devices have recorded: motions, presses, and live views that are over. */
export class Recordings {
  readonly #liveViews: LiveViews;
  #recordings: Recording[] = [];

  constructor(liveViews: LiveViews) {
    this.#liveViews = liveViews;
  }

  /** The oldest is dropped when there are too many. */
  add(recording: Omit<Recording, 'id'>): Recording {
    const added = { id: `ava1.ring.history.event.${randomBytes(8).toString('hex')}`, ...recording };
    this.#recordings.push(added);
    if (this.#recordings.length > RECORDINGS_KEPT) this.#recordings.shift();
    return added;
  }

  /** Oldest first. */
  of(account_id: string, device_id: string): Recording[] {
    return this.list().filter((one) => one.account_id === account_id && one.device_id === device_id);
  }

  /** Oldest first. */
  list(): Recording[] {
    const views = this.#liveViews.over().map(({ session_id, account_id, device_id, started_at, ended_at }) => ({
      id: `ava1.ring.history.event.${session_id}`,
      account_id,
      device_id,
      kind: 'on_demand' as const,
      sub_type: null,
      start: started_at,
      end: ended_at,
      ready_at: ended_at + LIVE_VIEW_READY_AFTER_MS,
      condition: 'good' as const,
    }));
    return [...this.#recordings, ...views].sort((a, b) => a.start - b.start);
  }
}

/** The newest frame within the span. */
export function newestFrame(recordings: readonly Recording[], { start, end }: Span): Frame | undefined {
  const frames = recordings.flatMap((recording): Frame[] => {
    const at = lastFrameUntil(recording, end);
    return at === undefined || at < start ? [] : [{ recording, at }];
  });
  return frames.reduce<Frame | undefined>((best, frame) => (best && best.at > frame.at ? best : frame), undefined);
}

/**
 * The frame nearest to a moment, of a recording that covers it.
 *
 * @param now epoch ms: later frames do not exist yet
 */
export function frameAt(recordings: readonly Recording[], moment: number, now: number): Frame | undefined {
  const recording = recordings.findLast(({ start, end }) => start <= moment && moment <= end);
  if (recording === undefined) return undefined;
  const before = lastFrameUntil(recording, moment) ?? recording.start;
  const after = before + FRAME_EVERY_MS;
  const hasAfter = recording.kind !== 'snapshot' && after <= Math.min(recording.end, now);
  return { recording, at: hasAfter && after - moment < moment - before ? after : before };
}

/** The first recording that overlaps the span. */
export function firstWithin(recordings: readonly Recording[], { start, end }: Span): Recording | undefined {
  return recordings.find((one) => one.kind !== 'snapshot' && one.start <= end && one.end >= start);
}

function lastFrameUntil({ kind, start, end }: Recording, until: number): number | undefined {
  if (until < start) return undefined;
  if (kind === 'snapshot') return start;
  return start + Math.floor((Math.min(until, end) - start) / FRAME_EVERY_MS) * FRAME_EVERY_MS;
}
