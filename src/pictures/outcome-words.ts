import { timeView, type TimeView } from '../devices/device-view.js';
import type { MissingOutcome } from './outcomes.js';
import type { PictureRequest } from './picture-requests.js';
import type { Schedule } from './schedules.js';

/** What came of asking for a picture, in words. */
export interface PictureNotice {
  tone: 'working' | 'caution' | 'problem';
  /** What happened. */
  fact: string;
  /** What can be done about it. */
  step: string;
  /** When the picture was asked for. */
  at: TimeView;
}

type Words = [fact: string, step: string];

const RECORDS_WHEN =
  'A device records when it sees motion, when somebody presses the doorbell, and when you watch live.';

/** Words for the latest picture, and those for the picture of an event where they differ. */
const WORDS: Record<MissingOutcome, Words> = {
  nothing: [
    'Ring has recorded nothing lately.',
    `${RECORDS_WHEN} Watch live for a moment, for example, and ask again then.`,
  ],
  'not-ready': ['The recording is still not ready at Ring.', 'Please ask again in a few minutes.'],
  'not-shared': [
    'This was recorded before you shared the device with us, so Ring shows it to you alone.',
    'You find it in the Ring app. What is recorded from now on can be shown here.',
  ],
  busy: ['Ring is busy right now.', 'Please try again in a moment.'],
  damaged: [
    'Ring could not read this recording: it is damaged.',
    'That can’t be repaired from here. The next recording has a picture again.',
  ],
  encrypted: [
    'Your Ring account encrypts what its devices record, so only your own phone or tablet can show it.',
    'Look at it in the Ring app, where you can also change the encryption.',
  ],
  gone: [
    'Ring tells us that there is no such camera for us any more.',
    'If you want to see it here, share it again in the Ring app. Otherwise it disappears from your home page soon.',
  ],
  uncovered: ['No active subscription covered the device.', 'Get or renew it in the Ring app, and ask again then.'],
  failed: ['Ring gave us no picture.', 'Something is not working there: please try again in a moment.'],
};

const OF_EVENT: Partial<Record<MissingOutcome, Words>> = {
  nothing: [
    'Ring has no recording of this event.',
    `It may be deleted there. ${RECORDS_WHEN} You find what it has in the Ring app.`,
  ],
};

/** A result is told for this long: after that, much may have been recorded. */
const SHOWN_FOR_MS = 60 * 60_000;

/** What to say of a request; null when there is nothing (any more), or when its picture speaks for itself. */
export function noticeOf(
  request: PictureRequest | undefined,
  about: 'latest' | 'event',
  now: Date,
): PictureNotice | null {
  if (request === undefined || (about === 'latest' && now.getTime() - request.askedAt.getTime() > SHOWN_FOR_MS))
    return null;
  const at = timeView(request.askedAt);
  const { outcome } = request;
  if (outcome === null) {
    const fact = 'The recording is not ready at Ring yet.';
    return {
      tone: 'working',
      fact,
      step: 'We ask again within a minute, even if you close this page. Reload it then.',
      at,
    };
  }
  if (outcome === 'taken' || (outcome === 'known' && about === 'event')) return null;
  if (outcome === 'known') {
    const step = `Ring has recorded nothing since. ${RECORDS_WHEN}`;
    return { tone: 'caution', fact: 'This is still the latest picture.', step, at };
  }
  const [fact, step] = (about === 'event' ? OF_EVENT[outcome] : undefined) ?? WORDS[outcome];
  return { tone: outcome === 'nothing' ? 'caution' : 'problem', fact, step, at };
}

/** What to say of a schedule's last run; null when it brought a picture. */
export function lastRunText({ lastOutcome }: Pick<Schedule, 'lastOutcome'>): string | null {
  if (lastOutcome === null || lastOutcome === 'taken' || lastOutcome === 'known') return null;
  const [fact] = WORDS[lastOutcome];
  return `Last time: ${fact} ${lastOutcome === 'nothing' ? RECORDS_WHEN : 'We’ll try again next time.'}`;
}
