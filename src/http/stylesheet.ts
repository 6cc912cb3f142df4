import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RequestHandler } from 'express';
import { ASSETS_DIR } from '../configuration/paths.js';

/** Serves `style.css` without comments and indentation: they weigh, and no reader sees them. */
export function stylesheet(): RequestHandler {
  const css = readFileSync(join(ASSETS_DIR, 'style.css'), 'utf8')
    .replaceAll(/\/\*.*?\*\//gs, '')
    .replaceAll(/\s*\n\s*/g, '\n');
  return ({ method, path }, response, next) => {
    const isAsked = path === '/style.css' && (method === 'GET' || method === 'HEAD');
    if (!isAsked) {
      next();
      return;
    }
    response.type('css').set('Cache-Control', 'public, max-age=3600').send(css);
  };
}
