import type { RingClip } from '../ring/media.js';
import { CLIP_MS, type ClipProblem } from './clips.js';

/** The reason why there is no clip, in words. */
export interface ClipProblemView {
  heading: string;
  message: string;
  steps: string[];
}

/** What to say of a clip of which only a part was recorded; null when all of it was. */
export function partText({ isPart, recordedMs }: Pick<RingClip, 'isPart' | 'recordedMs'>): string | null {
  if (!isPart) return null;
  if (recordedMs === undefined) return 'Ring has recorded only a part of this minute.';
  if (recordedMs >= CLIP_MS) return null;
  const seconds = Math.max(1, Math.round(recordedMs / 1_000));
  return `Ring has recorded ${seconds === 1 ? 'one second' : `${seconds} seconds`} of this minute.`;
}

const IN_RING_APP = 'Look in the Ring app, which has everything that Ring has recorded.';

/** The answers to somebody for whom there is no clip. */
export const CLIP_PROBLEMS: Record<ClipProblem, { status: number; view: ClipProblemView }> = {
  nothing: {
    status: 404,
    view: {
      heading: 'Nothing was recorded',
      message: 'Ring has no recording of this time, or it was deleted there.',
      steps: ['Check in the Ring app that the device may record, and that your Ring plan includes recordings.'],
    },
  },
  'not-shared': {
    status: 403,
    view: {
      heading: 'From before you shared the device',
      message: 'Ring lets us see only what was recorded since you shared the device with us.',
      steps: [IN_RING_APP],
    },
  },
  encrypted: {
    status: 409,
    view: {
      heading: 'The recording is encrypted',
      message: 'Your Ring account encrypts its recordings, so that only your own phone can show them.',
      steps: ['Watch it in the Ring app. Encryption is also turned off there, for what is recorded from then on.'],
    },
  },
  'not-ready': {
    status: 503,
    view: {
      heading: 'The recording is not ready',
      message: 'Ring is still making it.',
      steps: ['Wait a minute, then load this page again.'],
    },
  },
  damaged: {
    status: 502,
    view: {
      heading: 'The recording is damaged',
      message: 'Ring can’t read its own recording of this time. Trying again would not help.',
      steps: ['Look in the Ring app: it may have more of it.'],
    },
  },
  busy: {
    status: 503,
    view: {
      heading: 'Ring is busy',
      message: 'Ring can’t give us the recording right now. It is still there.',
      steps: ['Wait a moment, then load this page again.'],
    },
  },
  gone: {
    status: 404,
    view: {
      heading: 'The device is gone',
      message: 'There is no such device, or it is no longer shared in the Ring app.',
      steps: ['Share it again in the Ring app.'],
    },
  },
  'no-link': {
    status: 409,
    view: {
      heading: 'Ring does not let us see this device',
      message: 'The Ring account has to be linked again.',
      steps: ['Your home page says how.'],
    },
  },
  uncovered: {
    status: 403,
    view: {
      heading: 'No subscription covers the device',
      message: 'This needs an active subscription that covers the device.',
      steps: ['Get or renew it in the Ring app; this app follows by itself.'],
    },
  },
  failed: {
    status: 502,
    view: {
      heading: 'The recording did not come',
      message: 'Ring did not answer as it should.',
      steps: ['Load this page again in a minute.', IN_RING_APP],
    },
  },
};
