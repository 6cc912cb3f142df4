import { isGone, RingError } from '../ring/errors.js';

/** The ways in which a look-up of a picture ends. `taken`: a new picture is kept; `known`: the same one was kept before. */
export const PICTURE_OUTCOMES = [
  'taken',
  'known',
  'nothing',
  'not-ready',
  'not-shared',
  'busy',
  'damaged',
  'encrypted',
  'gone',
  'uncovered',
  'failed',
] as const;

export type PictureOutcome = (typeof PICTURE_OUTCOMES)[number];

/** The outcomes that bring no picture. A clip may be missing for the same reasons. */
export type MissingOutcome = Exclude<PictureOutcome, 'taken' | 'known'>;

const BY_CODE: ReadonlyMap<string | undefined, MissingOutcome> = new Map([
  ['MEDIA_NOT_FOUND', 'nothing'],
  ['TIMESTAMP_NOT_FOUND', 'nothing'],
  ['RECORDING_NOT_READY', 'not-ready'],
  ['TIME_RANGE_NOT_AUTHORIZED', 'not-shared'],
  ['CORRUPT_RECORDING', 'damaged'],
  ['SERVER_BUSY', 'busy'],
]);

/**
 * What Ring's refusal says of a picture or a clip.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function outcomeOf(error: RingError): MissingOutcome {
  const told = BY_CODE.get(error.code);
  if (told !== undefined) return told;
  if (error.kind === 'rate-limited' || error.status === 503) return 'busy';
  return isGone(error) ? 'gone' : 'failed';
}

/** Whether an error is a refusal of Ring's that says this. */
export const isOutcome = (error: unknown, outcome: MissingOutcome): error is RingError =>
  error instanceof RingError && outcomeOf(error) === outcome;

/** An outcome as a row keeps it. One that only a later build knows is `failed`. */
export function storedOutcome(text: string): PictureOutcome {
  return PICTURE_OUTCOMES.find((outcome) => outcome === text) ?? 'failed';
}
