import { createCipheriv, createHash } from 'node:crypto';
import { crc32, deflateSync } from 'node:zlib';
import { jpegOf } from './jpeg.js';

/** The size of a picture for which none was asked. */
const USUAL_SIZE = { width: 640, height: 360 };

/** The first half of the palette is sky, from dark to light; the second half is ground. */
const PALETTE_HALF = 128;

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

interface Size {
  width: number;
  height: number;
}

/**
 * The picture of one frame: sky, ground, a visitor at the door, and a sensor's noise. The same frame always has the same
 * bytes.
 *
 * @param frame the name of the frame
 */
export function pictureOf(frame: string, format: 'jpeg' | 'png', size: Size = USUAL_SIZE): Buffer {
  return format === 'png' ? pngOf(frame, size) : jpegOf(size.width, size.height, brightness(frame, size));
}

/**
 * The bytes of a picture or clip that Ring has encrypted for its user: they are of no format.
 *
 * @param recorded the name of the frame or recording
 */
export function encryptedMediaOf(recorded: string): Buffer {
  return noise(recorded, 20_000);
}

function pngOf(frame: string, size: Size): Buffer {
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header(size)),
    chunk('PLTE', palette(frame)),
    chunk('IDAT', deflateSync(scene(frame, size))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** 8 bits for each pixel, through a palette; not interlaced. */
function header({ width, height }: Size): Buffer {
  const bytes = Buffer.alloc(13);
  bytes.writeUInt32BE(width, 0);
  bytes.writeUInt32BE(height, 4);
  bytes.writeUInt8(8, 8);
  bytes.writeUInt8(3, 9);
  return bytes;
}

function palette(frame: string): Buffer {
  const [light] = choices(frame);
  const colours = Array.from({ length: 2 * PALETTE_HALF }, (_, index) => {
    const step = index % PALETTE_HALF;
    return index < PALETTE_HALF ? [light + (step >> 1), light + step, 255 - (step >> 1)] : [step, light + step, step];
  });
  return Buffer.from(colours.flat().map((part) => Math.min(part, 255)));
}

/** Rows of palette indexes, each after the byte that names its filter: 0, for none. */
function scene(frame: string, { width, height }: Size): Uint8Array {
  // One bit of noise for each pixel. Whole rows are drawn at once, because a simulator that runs for long draws many.
  const pixels = noise(frame, height * (width + 1)).map((byte) => byte & 1);
  const visitor = visitorIn(frame, { width, height });
  for (let y = 0; y < height; y += 1) {
    const row = pixels.subarray(y * (width + 1), (y + 1) * (width + 1));
    const colour = backgroundAt(y / height);
    row[0] = 0;
    for (let x = 0; x < width; x += 1) {
      if (!isWithin(visitor, x, y)) row[1 + x] = colour + (row[1 + x] ?? 0);
    }
  }
  return pixels;
}

/** The same scene for a format without colours, in squares of 8 pixels. */
function brightness(frame: string, size: Size): (x: number, y: number) => number {
  const visitor = visitorIn(frame, size);
  const grain = noise(frame, 4_096);
  const [light] = choices(frame);
  return (x, y) => {
    const speck = (grain[(y * 37 + x) % grain.length] ?? 0) & 7;
    return isWithin(visitor, x, y)
      ? 30 + speck
      : Math.min(255, (light >> 1) + (backgroundAt(y / size.height) >> 1) + speck);
  };
}

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

function visitorIn(frame: string, { width, height }: Size): Box {
  const [, across, down] = choices(frame);
  const left = Math.floor((width * across) / 290);
  const top = Math.floor(height * (1 / 3 + down / 1_536));
  return { left, top, right: left + width / 11, bottom: top + height * 0.4 };
}

function isWithin({ left, top, right, bottom }: Box, x: number, y: number): boolean {
  return x >= left && x < right && y >= top && y < bottom;
}

/** @param down the part of the picture that is above, 0 to 1 */
function backgroundAt(down: number): number {
  const horizon = 0.55;
  const isSky = down < horizon;
  const depth = isSky ? down / horizon : (down - horizon) / (1 - horizon);
  return (isSky ? 0 : PALETTE_HALF) + Math.floor(depth * (PALETTE_HALF - 2));
}

/** The light of a frame (60 to 123), and two numbers from 0 to 255 for the place of its visitor. */
function choices(frame: string): [light: number, across: number, down: number] {
  const [light = 0, across = 0, down = 0] = createHash('sha256').update(frame).digest();
  return [60 + (light & 63), across, down];
}

/** Bytes without a pattern, the same ones for the same frame. */
function noise(frame: string, length: number): Buffer {
  const key = createHash('sha256').update(frame).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(typed), 4);
  return Buffer.concat([frame.subarray(0, 4), typed, frame.subarray(4)]);
}
