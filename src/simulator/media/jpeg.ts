import { BitWriter } from './bits.js';

const BLOCK = 8;

/** How often a code of each length (1 to 16 bits) occurs, and the values in the order of their codes. */
interface HuffmanTable {
  counts: number[];
  values: number[];
}

/** The usual table for the differences of brightness (ITU T.81, K.3). */
const DIFFERENCES: HuffmanTable = {
  counts: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
  values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
};

/** A block has one brightness and no detail, so the only value of the second table is "end of block", with code 0. */
const DETAILS: HuffmanTable = { counts: [1, ...Array<number>(15).fill(0)], values: [0] };

/**
 * A baseline JPEG in shades of grey, in squares of 8 pixels (ITU T.81).
 *
 * @param brightnessAt 0 to 255, asked once for each square
 */
export function jpegOf(width: number, height: number, brightnessAt: (x: number, y: number) => number): Buffer {
  return Buffer.from([
    ...[0xff, 0xd8],
    ...segment(0xe0, [...Buffer.from('JFIF\0', 'latin1'), 1, 1, 0, 0, 1, 0, 1, 0, 0]),
    // A quantum of 8 makes the first coefficient of a block its brightness, from -128 to 127.
    ...segment(0xdb, [0, ...Array<number>(64).fill(8)]),
    ...segment(0xc0, [8, ...word(height), ...word(width), 1, 1, 0x11, 0]),
    ...segment(0xc4, [0x00, ...DIFFERENCES.counts, ...DIFFERENCES.values]),
    ...segment(0xc4, [0x10, ...DETAILS.counts, ...DETAILS.values]),
    ...segment(0xda, [1, 1, 0x00, 0, 63, 0]),
    ...scan(width, height, brightnessAt),
    ...[0xff, 0xd9],
  ]);
}

function scan(width: number, height: number, brightnessAt: (x: number, y: number) => number): number[] {
  const codes = codesOf(DIFFERENCES);
  const bits = new BitWriter();
  let before = 0;
  for (let y = 0; y < height; y += BLOCK) {
    for (let x = 0; x < width; x += BLOCK) {
      const brightness = Math.round(brightnessAt(x, y)) - 128;
      const difference = brightness - before;
      before = brightness;
      const size = 32 - Math.clz32(Math.abs(difference));
      const { code, length } = codes[size] ?? { code: 0, length: 0 };
      bits
        .put(code, length)
        .put(difference < 0 ? difference + (1 << size) - 1 : difference, size)
        .put(0, 1);
    }
  }
  // A byte 0xff is followed by 0, or else it would begin a marker.
  return bits
    .align(1)
    .toBytes()
    .flatMap((byte) => (byte === 0xff ? [byte, 0] : [byte]));
}

/** The code of each value, by the value. */
function codesOf({ counts, values }: HuffmanTable): { code: number; length: number }[] {
  const codes: { code: number; length: number }[] = [];
  let code = 0;
  let taken = 0;
  counts.forEach((count, index) => {
    for (const value of values.slice(taken, taken + count)) codes[value] = { code: code++, length: index + 1 };
    taken += count;
    code <<= 1;
  });
  return codes;
}

function segment(marker: number, data: number[]): number[] {
  return [0xff, marker, ...word(data.length + 2), ...data];
}

function word(value: number): number[] {
  return [value >> 8, value & 0xff];
}
