import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Browser } from 'playwright-core';
import { STATES } from '../browser/states/all.js';
import { show } from '../browser/states/shown.js';
import { Stage } from '../browser/states/stage.js';
import type { State } from '../browser/states/state.js';
import { launchBrowser } from '../support/clients/browser.js';
import { SCHEMES, WIDTHS } from '../support/inspection/look.js';
import globalSetup, { stopSharedPostgres } from '../support/suite/global-setup.js';

const SCREENSHOTS = join(import.meta.dirname, '../../screenshots');

const HELP = `npm run gallery [-- [--help] FILTER...]

Takes a picture of every page in every state, on a phone and on a desktop, in light and in dark, and hangs them beside
each other in dist/screenshots/index.html. They are for a person to judge: what a machine can judge, npm test does.

  FILTER    only states whose name contains this, as "device" or "link-confirm"; several: any of them
  --help    this text`;

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { help: { type: 'boolean', default: false } },
  });
  if (values.help) {
    say(HELP);
    return;
  }
  const states = STATES.filter(({ name }) => positionals.length === 0 || positionals.some((one) => name.includes(one)));
  if (states.length === 0) {
    say(
      `No state has a name with ${positionals.join(' or ')} in it. There are: ${STATES.map(({ name }) => name).join(', ')}`,
    );
    process.exitCode = 1;
    return;
  }
  await globalSetup();
  try {
    await takePictures(states);
  } finally {
    await stopSharedPostgres();
  }
}

async function takePictures(states: State[]): Promise<void> {
  await rm(SCREENSHOTS, { recursive: true, force: true });
  await mkdir(SCREENSHOTS, { recursive: true });
  const [stage, browser] = await Promise.all([Stage.open(), launchBrowser()]);
  try {
    // One after the other, because some states change for a moment what others would show.
    for (const state of states) await takePicturesOf(browser, stage, state);
  } finally {
    await browser.close();
    await stage.close();
  }
  await hang();
  say(`${states.length} states: ${join(SCREENSHOTS, 'index.html')}`);
}

async function takePicturesOf(browser: Browser, stage: Stage, state: State): Promise<void> {
  await show(browser, stage, state, async ({ page, faults }) => {
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 800 });
      for (const colorScheme of SCHEMES) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: join(SCREENSHOTS, `${state.name}-${width}-${colorScheme}.png`), fullPage: true });
      }
    }
    if (faults.length > 0) say(`${state.name}: ${faults.join('; ')}`);
  });
}

/** Writes one page with all screenshots, those of one state beside each other. */
async function hang(): Promise<void> {
  const pictures = (await readdir(SCREENSHOTS)).filter((file) => file.endsWith('.png')).sort();
  const rows = STATES.map(({ name }) => {
    const files = WIDTHS.flatMap((width) => SCHEMES.map((scheme) => `${name}-${width}-${scheme}.png`));
    const shown = files.filter((file) => pictures.includes(file));
    const links = shown.map((file) => `<a href="${file}"><img src="${file}" alt="${file}" title="${file}"></a>`);
    return links.length === 0 ? '' : `<h2 id="${name}">${name}</h2><div>${links.join('')}</div>\n`;
  });
  await writeFile(join(SCREENSHOTS, 'index.html'), `${HEAD}\n${rows.join('')}`);
}

const HEAD = `<!doctype html><meta charset="utf-8"><title>Every page in every state</title>
<style>body { font: 1rem sans-serif; background: #888 } div { display: flex; gap: 1rem; align-items: start; overflow-x: auto }
img { width: 320px; max-height: 40rem; object-fit: cover; object-position: top }</style>`;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await main(process.argv.slice(2));
