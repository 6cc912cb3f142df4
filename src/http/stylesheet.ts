import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RequestHandler } from 'express';
import { ASSETS_DIR } from '../configuration/paths.js';

/** `GET /assets/style.css`, without comments and indentation, so that pages stay small. */
export function stylesheet(): RequestHandler {
  const css = readFileSync(join(ASSETS_DIR, 'style.css'), 'utf8')
    .replaceAll(/\/\*.*?\*\//gs, '')
    .replaceAll(/\s*\n\s*/g, '\n');
  return (_request, response) => {
    response.type('css').set('Cache-Control', 'public, max-age=3600').send(css);
  };
}
