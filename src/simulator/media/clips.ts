import { parameterSets, pictureUnit, PROFILE, SIZE } from './avc.js';

/** Times within a clip are in ms. */
const TIMESCALE = 1_000;
const FRAME_MS = 1_000;

/** The clip's pictures in turn. A longer clip shows them again and is hardly larger. */
const PICTURES = Array.from({ length: 4 }, (_, index) => sample(pictureUnit(index)));

/** The matrix that leaves a picture as it is, as in every header. */
const MATRIX = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000].flatMap(long);

/**
 * A clip that plays: MP4 (ISO/IEC 14496-12) with one H.264 track, a picture each second.
 *
 * @param minBytes the least size; free space makes a smaller clip larger
 */
export function clipOf(durationMs: number, minBytes: number): Buffer {
  const count = Math.max(1, Math.ceil(durationMs / FRAME_MS));
  const lastMs = Math.max(1, durationMs - (count - 1) * FRAME_MS);
  const type = box('ftyp', text('isom'), long(0x200), text('isomiso2avc1mp41'));
  // The offsets of the pictures depend on the size of the box that holds the offsets.
  const sizeOfHead = type.length + movie(count, lastMs, []).length + count * 4;
  const offsets: number[] = [];
  let at = sizeOfHead + 8;
  for (const picture of PICTURES) {
    offsets.push(at);
    at += picture.length;
  }
  const whole = Buffer.concat([type, movie(count, lastMs, offsets), box('mdat', ...PICTURES)]);
  const missing = minBytes - whole.length;
  return missing <= 0 ? whole : Buffer.concat([whole, box('free', Buffer.alloc(Math.max(0, missing - 8)))]);
}

/** @param offsets of the pictures in the file */
function movie(count: number, lastMs: number, offsets: readonly number[]): Buffer {
  const duration = (count - 1) * FRAME_MS + lastMs;
  const movieHeader = box(
    'mvhd',
    ...[0, 0, 0, TIMESCALE, duration, 0x10000].map(long),
    [1, 0],
    zeros(10),
    MATRIX,
    zeros(24),
    long(2),
  );
  const trackHeader = box(
    'tkhd',
    ...[3, 0, 0, 1, 0, duration].map(long),
    zeros(16),
    MATRIX,
    long(SIZE.width << 16),
    long(SIZE.height << 16),
  );
  const mediaHeader = box('mdhd', ...[0, 0, 0, TIMESCALE, duration].map(long), [0x55, 0xc4, 0, 0]);
  const handler = box('hdlr', long(0), long(0), text('vide'), zeros(12), text('clip\0'));
  const dataInformation = box('dinf', box('dref', long(0), long(1), box('url ', long(1))));
  const information = box('minf', box('vmhd', long(1), zeros(8)), dataInformation, sampleTable(count, lastMs, offsets));
  return box('moov', movieHeader, box('trak', trackHeader, box('mdia', mediaHeader, handler, information)));
}

function sampleTable(count: number, lastMs: number, offsets: readonly number[]): Buffer {
  const pictureOf = (index: number): number => index % PICTURES.length;
  const samples = Array.from({ length: count }, (_, index) => index);
  const durations =
    count === 1
      ? [[1, lastMs]]
      : [
          [count - 1, FRAME_MS],
          [1, lastMs],
        ];
  return box(
    'stbl',
    box('stsd', long(0), long(1), sampleEntry()),
    box('stts', long(0), long(durations.length), durations.flat().flatMap(long)),
    box('stsc', ...[0, 1, 1, 1, 1].map(long)),
    box(
      'stsz',
      long(0),
      long(0),
      long(count),
      samples.flatMap((one) => long(PICTURES[pictureOf(one)]?.length ?? 0)),
    ),
    box(
      'stco',
      long(0),
      long(count),
      offsets.length === 0 ? [] : samples.flatMap((one) => long(offsets[pictureOf(one)] ?? 0)),
    ),
  );
}

function sampleEntry(): Buffer {
  const { sequence, picture } = parameterSets();
  const configuration = box(
    'avcC',
    [1, ...PROFILE, 0xff, 0xe1, ...short(sequence.length)],
    sequence,
    [1, ...short(picture.length)],
    picture,
  );
  const resolution = [0x480000, 0x480000, 0].flatMap(long);
  const frame = [...short(SIZE.width), ...short(SIZE.height), ...resolution, ...short(1)];
  return box('avc1', zeros(6), short(1), zeros(16), frame, zeros(32), [...short(0x18), 0xff, 0xff], configuration);
}

/** A unit as it stands in the file: its length first. */
function sample(unit: Buffer): Buffer {
  return Buffer.concat([Buffer.from(long(unit.length)), unit]);
}

function box(type: string, ...parts: (Buffer | number[])[]): Buffer {
  const content = Buffer.concat(parts.map((part) => (Array.isArray(part) ? Buffer.from(part) : part)));
  return Buffer.concat([Buffer.from(long(content.length + 8)), Buffer.from(text(type)), content]);
}

function text(value: string): number[] {
  return [...Buffer.from(value, 'latin1')];
}

function zeros(count: number): number[] {
  return Array<number>(count).fill(0);
}

function short(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff];
}

function long(value: number): number[] {
  return [(value >>> 24) & 0xff, (value >>> 16) & 0xff, ...short(value)];
}
