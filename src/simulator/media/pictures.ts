import { randomBytes, randomInt } from 'node:crypto';
import { crc32, deflateSync } from 'node:zlib';

const WIDTH = 640;
const HEIGHT = 360;
const HORIZON = 200;

/** The first half of the palette is sky, from dark to light; the second half is ground. */
const PALETTE_HALF = 128;

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** A valid PNG of about 50 kB, different each time: sky, ground, a visitor at the door, and a sensor's noise. */
export function newPicture(): Buffer {
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header()),
    chunk('PLTE', palette()),
    chunk('IDAT', deflateSync(scene())),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** 8 bits for each pixel, through a palette; not interlaced. */
function header(): Buffer {
  const bytes = Buffer.alloc(13);
  bytes.writeUInt32BE(WIDTH, 0);
  bytes.writeUInt32BE(HEIGHT, 4);
  bytes.writeUInt8(8, 8);
  bytes.writeUInt8(3, 9);
  return bytes;
}

function palette(): Buffer {
  const light = randomInt(60, 120);
  const colours = Array.from({ length: 2 * PALETTE_HALF }, (_, index) => {
    const step = index % PALETTE_HALF;
    return index < PALETTE_HALF ? [light + (step >> 1), light + step, 255 - (step >> 1)] : [step, light + step, step];
  });
  return Buffer.from(colours.flat().map((part) => Math.min(part, 255)));
}

/** Rows of palette indexes, each after the byte that names its filter: 0, for none. */
function scene(): Uint8Array {
  // One bit of noise for each pixel. Whole rows are drawn at once, because a simulator that runs for long draws many.
  const pixels = randomBytes(HEIGHT * (WIDTH + 1)).map((byte) => byte & 1);
  const [left, top] = [randomInt(WIDTH - 60), randomInt(120, 180)];
  for (let y = 0; y < HEIGHT; y += 1) {
    const row = pixels.subarray(y * (WIDTH + 1), (y + 1) * (WIDTH + 1));
    const colour = backgroundAt(y);
    row[0] = 0;
    for (let x = 0; x < WIDTH; x += 1) {
      const isVisitor = x >= left && x < left + 60 && y >= top && y < top + 150;
      if (!isVisitor) row[1 + x] = colour + (row[1 + x] ?? 0);
    }
  }
  return pixels;
}

function backgroundAt(y: number): number {
  const isSky = y < HORIZON;
  const depth = isSky ? y / HORIZON : (y - HORIZON) / (HEIGHT - HORIZON);
  return (isSky ? 0 : PALETTE_HALF) + Math.floor(depth * (PALETTE_HALF - 2));
}

function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(typed), 4);
  return Buffer.concat([frame.subarray(0, 4), typed, frame.subarray(4)]);
}
