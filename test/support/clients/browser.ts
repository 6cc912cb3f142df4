import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { WAIT_LIMIT_MS } from '../waiting/limits.js';
import type { Visitor } from './visitor.js';

const execute = promisify(execFile);

/** The folder is inside the package, so that a new version of the package brings a new Chromium. */
const PACKAGE_DIR = dirname(dirname(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium'))));
const CHROMIUM_DIR = join(PACKAGE_DIR, 'inflated');

/** The package has Chromium for this platform only. */
const HAS_CHROMIUM = process.platform === 'linux' && process.arch === 'x64';

const ARGS = [
  '--no-sandbox', // Root can't use the sandbox.
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
];

/** A headless Chromium from the package. On other platforms than Linux on x64, the Chrome that is installed there. */
export async function launchBrowser(): Promise<Browser> {
  if (!HAS_CHROMIUM) return chromium.launch({ channel: 'chrome', args: ARGS });
  await inflateChromium();
  const executablePath = join(CHROMIUM_DIR, 'chromium');
  const env = {
    ...process.env,
    FONTCONFIG_FILE: join(CHROMIUM_DIR, 'fonts.conf'),
    ...(await libraries(executablePath)),
  };
  return chromium.launch({ executablePath, args: ARGS, env });
}

/** A context like a browser of its own: it shares nothing with others. Its waits end only when something hangs. */
export async function newContext(browser: Browser, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(WAIT_LIMIT_MS);
  return context;
}

/** Opens an address in the browser, with the visitor's session. */
export async function visitAs(page: Page, { appUrl, cookies }: Visitor, address: string): Promise<void> {
  const kept = cookies.map((cookie) => ({ ...cookie, url: appUrl, httpOnly: true, sameSite: 'Lax' as const }));
  await page.context().addCookies(kept);
  await page.goto(appUrl + address);
}

/**
 * Unpacks Chromium, its fonts and its libraries. Only the first call does so. The package itself would take a
 * half-written file of a parallel worker for a finished one. So each caller unpacks into a draft, and the first rename
 * wins.
 */
export async function inflateChromium(): Promise<void> {
  if (!HAS_CHROMIUM || existsSync(CHROMIUM_DIR)) return;
  const draft = await mkdtemp(join(PACKAGE_DIR, 'inflating-'));
  try {
    const script = "import chromium from '@sparticuz/chromium'; await chromium.executablePath();";
    // The package unpacks into TMPDIR. It adds the libraries that a bare Linux lacks only if it believes that it runs
    // on AWS Lambda.
    const env = { PATH: process.env.PATH, TMPDIR: draft, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs20.x' };
    await execute(process.execPath, ['--input-type=module', '--eval', script], { cwd: PACKAGE_DIR, env });
    await writeFile(join(draft, 'fonts.conf'), fontsConfiguration(join(CHROMIUM_DIR, 'fonts')));
    await rename(draft, CHROMIUM_DIR);
  } catch (error) {
    if (!existsSync(CHROMIUM_DIR)) throw error;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** The package's own file names folders of AWS Lambda. With one font everywhere, layouts are alike on every machine. */
function fontsConfiguration(fontsDir: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${fontsDir}</dir><cachedir>${fontsDir}/cache</cachedir></fontconfig>
`;
}

/** The package's NSS and expat, for a system without them. Mixing them with the system's own would be risky. */
async function libraries(executablePath: string): Promise<{ LD_LIBRARY_PATH?: string }> {
  const { stdout } = await execute('ldd', [executablePath]);
  return stdout.includes('not found') ? { LD_LIBRARY_PATH: join(CHROMIUM_DIR, 'al2023', 'lib') } : {};
}
