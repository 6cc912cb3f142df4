import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { RequestHandler } from 'express';
import { ASSETS_DIR } from '../configuration/paths.js';

/** What begins a line and ends it. A `//` within a line may belong to an address. */
const COMMENTS = /^\s*(?:\/\/.*|\/\*[^]*?\*\/)$/gm;

/**
 * Serves the stylesheet and the scripts without comments and indentation: they weigh, and no reader sees them. No text in
 * a script may go over several lines.
 */
export function leanAssets(): RequestHandler {
  const assets = new Map(
    readdirSync(ASSETS_DIR)
      .filter((file) => ['.css', '.js'].includes(extname(file)))
      .map((file) => [`/${file}`, lean(readFileSync(join(ASSETS_DIR, file), 'utf8'))]),
  );
  return ({ method, path }, response, next) => {
    const asset = method === 'GET' || method === 'HEAD' ? assets.get(path) : undefined;
    if (asset === undefined) {
      next();
      return;
    }
    response.type(extname(path)).set('Cache-Control', 'public, max-age=3600').send(asset);
  };
}

const lean = (text: string): string => text.replaceAll(COMMENTS, '').replaceAll(/\s*\n\s*/g, '\n');
