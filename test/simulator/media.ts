import { crc32, inflateSync } from 'node:zlib';
import { expect } from '@jest/globals';

/** What a decoder finds in pictures and clips: size and structure. Each expects the file to be well-formed. */

export async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

/** The width and height of a PNG. */
export function sizeOfPng(png: Buffer): [number, number] {
  expect(png.subarray(0, 8)).toEqual(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
  const chunks: { type: string; data: Buffer }[] = [];
  for (let at = 8; at < png.length;) {
    const end = at + 8 + png.readUInt32BE(at);
    chunks.push({ type: png.toString('latin1', at + 4, at + 8), data: png.subarray(at + 8, end) });
    expect(crc32(png.subarray(at + 4, end))).toBe(png.readUInt32BE(end));
    at = end + 4;
  }
  expect(chunks.map(({ type }) => type)).toEqual(['IHDR', 'PLTE', 'IDAT', 'IEND']);
  const [header, , pixels] = chunks;
  const [width = 0, height = 0] = [header?.data.readUInt32BE(0), header?.data.readUInt32BE(4)];
  expect(inflateSync(pixels?.data ?? '')).toHaveLength(height * (width + 1));
  return [width, height];
}

/** The width and height of a JPEG. */
export function sizeOfJpeg(jpeg: Buffer): [number, number] {
  expect(jpeg.subarray(0, 2)).toEqual(Buffer.of(0xff, 0xd8));
  expect(jpeg.subarray(-2)).toEqual(Buffer.of(0xff, 0xd9));
  for (let at = 2; at < jpeg.length; at += 2 + jpeg.readUInt16BE(at + 2)) {
    expect(jpeg[at]).toBe(0xff);
    if (jpeg[at + 1] === 0xc0) return [jpeg.readUInt16BE(at + 7), jpeg.readUInt16BE(at + 5)];
  }
  throw new Error('the JPEG has no frame');
}

interface Box {
  type: string;
  content: Buffer;
}

/** The boxes of an MP4, or of the content of one of its boxes. */
export function boxesOf(bytes: Buffer): Box[] {
  const boxes: Box[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = bytes.readUInt32BE(at);
    expect(at + size).toBeLessThanOrEqual(bytes.length);
    boxes.push({ type: bytes.toString('latin1', at + 4, at + 8), content: bytes.subarray(at + 8, at + size) });
    at += size;
  }
  return boxes;
}

/** The content of a box within boxes. */
export function boxAt(bytes: Buffer, ...path: string[]): Buffer {
  return path.reduce((content, type) => {
    const box = boxesOf(content).find((one) => one.type === type);
    if (box === undefined) throw new Error(`the clip has no ${path.join('/')}`);
    return box.content;
  }, bytes);
}

/** The duration of an MP4 in ms. */
export function durationOf(mp4: Buffer): number {
  const header = boxAt(mp4, 'moov', 'mvhd');
  return (header.readUInt32BE(16) / header.readUInt32BE(12)) * 1_000;
}
