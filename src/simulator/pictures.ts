import { randomInt } from 'node:crypto';
import { crc32, deflateSync } from 'node:zlib';

const WIDTH = 640;
const HEIGHT = 360;
const HORIZON = 200;

/** The first half of the palette is sky, from dark to light; the second half is ground. */
const PALETTE_HALF = 128;

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** A valid PNG of about 50 kB that is different each time: sky, ground, someone at the door, and a sensor's noise. */
export function newPicture(): Buffer {
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header()),
    chunk('PLTE', palette()),
    chunk('IDAT', deflateSync(scene())),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** 8 bits a pixel, through a palette; not interlaced. */
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

/** Rows of palette indexes, each behind the byte of its filter, which is 0 for none. */
function scene(): Buffer {
  const rows = Buffer.alloc(HEIGHT * (WIDTH + 1));
  const visitor = { left: randomInt(WIDTH - 60), top: randomInt(120, 180) };
  for (let y = 0; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDTH; x += 1) rows[y * (WIDTH + 1) + 1 + x] = colourAt(x, y, visitor);
  }
  return rows;
}

function colourAt(x: number, y: number, visitor: { left: number; top: number }): number {
  const noise = Math.random() < 0.5 ? 0 : 1;
  const isVisitor = x >= visitor.left && x < visitor.left + 60 && y >= visitor.top && y < visitor.top + 150;
  if (isVisitor) return noise;
  if (y < HORIZON) return Math.floor((y / HORIZON) * (PALETTE_HALF - 2)) + noise;
  return PALETTE_HALF + Math.floor(((y - HORIZON) / (HEIGHT - HORIZON)) * (PALETTE_HALF - 2)) + noise;
}

function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(typed), 4);
  return Buffer.concat([frame.subarray(0, 4), typed, frame.subarray(4)]);
}
