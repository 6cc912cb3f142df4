import { BitWriter } from './bits.js';

/**
 * An encoder of H.264 (ITU-T H.264) in its simplest form: every picture stands for itself, and its blocks of 16x16 pixels
 * hold plain samples. Node has no encoder, and this one needs none.
 */

const BLOCK = 16;
const WIDTH = 256;
const HEIGHT = 144;
const BLOCKS_ACROSS = WIDTH / BLOCK;
const BLOCKS_DOWN = HEIGHT / BLOCK;

/** Constrained baseline, level 3.0. */
export const PROFILE = [66, 0xc0, 30] as const;

export const SIZE = { width: WIDTH, height: HEIGHT };

/** The units of a stream: how to decode it. */
export function parameterSets(): { sequence: Buffer; picture: Buffer } {
  const sequence = new Unit(0x67).bits(PROFILE[0], 8).bits(PROFILE[1], 8).bits(PROFILE[2], 8);
  // The set's number, 4 bits for frame numbers, pictures in the order of decoding, no reference frames.
  sequence.unsigned(0).unsigned(0).unsigned(2).unsigned(0).bits(0, 1);
  sequence.unsigned(BLOCKS_ACROSS - 1).unsigned(BLOCKS_DOWN - 1);
  // Frames only, direct inference, no cropping, no usability information.
  sequence.bits(0b1100, 4);

  const picture = new Unit(0x68).unsigned(0).unsigned(0).bits(0b00, 2);
  // One slice group, one reference index each, no weighting, quantizers as usual, control of the deblocking filter.
  picture.unsigned(0).unsigned(0).unsigned(0).bits(0, 3).unsigned(0).unsigned(0).unsigned(0).bits(0b100, 3);
  return { sequence: sequence.end(), picture: picture.end() };
}

/**
 * One picture: a bar that moves across a plain ground.
 *
 * @param index the bar's place, and what tells two pictures that follow each other apart
 */
export function pictureUnit(index: number): Buffer {
  const unit = new Unit(0x65);
  // First block, intra only, the set's number, the frame's number, the picture's own number, no marking of references.
  unit
    .unsigned(0)
    .unsigned(7)
    .unsigned(0)
    .bits(0, 4)
    .unsigned(index & 1)
    .bits(0b00, 2);
  // The slice's quantizer is the usual one, and the deblocking filter is off.
  unit.unsigned(0).unsigned(1);
  for (let block = 0; block < BLOCKS_ACROSS * BLOCKS_DOWN; block += 1) {
    const isBar = block % BLOCKS_ACROSS === (index * 4) % BLOCKS_ACROSS;
    // Type 25 of an intra block: plain samples, 256 of brightness and 64 of each colour.
    unit
      .unsigned(25)
      .align()
      .bytes(256, isBar ? 200 : 60)
      .bytes(64, 110)
      .bytes(64, isBar ? 150 : 128);
  }
  return unit.end();
}

/** A unit of the stream (7.3.1). */
class Unit {
  readonly #header: number;
  readonly #bits = new BitWriter();

  constructor(header: number) {
    this.#header = header;
  }

  bits(value: number, length: number): this {
    this.#bits.put(value, length);
    return this;
  }

  /** A number in as many bits as it needs (9.1). */
  unsigned(value: number): this {
    const length = 32 - Math.clz32(value + 1);
    this.#bits.put(0, length - 1).put(value + 1, length);
    return this;
  }

  align(): this {
    this.#bits.align(0);
    return this;
  }

  bytes(count: number, value: number): this {
    this.#bits.append(Array<number>(count).fill(value));
    return this;
  }

  /** The unit with its last bit, and with a 3 where the bytes would look like the start of a unit (7.4.1). */
  end(): Buffer {
    const bytes = [this.#header];
    let zeros = 0;
    for (const byte of this.#bits.put(1, 1).align(0).toBytes()) {
      if (zeros >= 2 && byte <= 3) {
        bytes.push(3);
        zeros = 0;
      }
      bytes.push(byte);
      zeros = byte === 0 ? zeros + 1 : 0;
    }
    return Buffer.from(bytes);
  }
}
