import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, chown, copyFile, cp, lstat, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/development/embedded-postgres.js';
import { query } from '../support/worlds/postgres.js';

const MODULE = fileURLToPath(new URL('../../src/development/embedded-postgres.js', import.meta.url));
const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/**
 * A process that owns a Postgres. It prints the address in one line, stops Postgres on SIGTERM, and survives a Ctrl-C.
 */
const OWNER = `
  const [module, dataDir] = process.argv.slice(1);
  process.on('SIGINT', () => undefined);
  const { startEmbeddedPostgres } = await import(module);
  const postgres = await startEmbeddedPostgres({ dataDir, log: () => undefined });
  console.log(JSON.stringify({ url: postgres.url, pid: postgres.pid }));
  process.on('SIGTERM', () => postgres.stop());
`;

interface Owner {
  process: ChildProcess;
  url: string;
  pid: number;
}

/** Most tests share one data folder: its first start takes seconds, each later one a moment. */
let sharedDataDir: string;
let directory: string;
let dataDir: string;
let undo: (() => Promise<unknown>)[];

beforeAll(async () => {
  sharedDataDir = await makeDirectory();
  await (await startEmbeddedPostgres({ dataDir: sharedDataDir, log: () => undefined })).stop();
});

beforeEach(async () => {
  directory = await makeDirectory();
  dataDir = sharedDataDir;
  undo = [];
});

afterEach(async () => {
  for (const step of undo.reverse()) await step();
  await remove(directory);
});

afterAll(() => remove(sharedDataDir));

describe('data', () => {
  test('is there after a stop and a start', async () => {
    const first = await start();
    const note = await writeNote(first.url);
    await first.stop();

    const second = await start();

    expect(await readNote(second.url)).toBe(note);
  });

  test('is there after a kill -9 of Postgres, once it was committed', async () => {
    const first = await start();
    const note = await writeNote(first.url);
    process.kill(first.pid, 'SIGKILL');
    await first.stop();

    const second = await start();

    expect(await readNote(second.url)).toBe(note);
  });
});

describe('the first start', () => {
  beforeEach(() => {
    dataDir = join(directory, 'new', 'data');
  });

  test('makes the folder, and the password one that only its owner reads', async () => {
    const { url } = await start();

    expect(await query(url, 'SELECT current_database()')).toEqual([{ current_database: 'app' }]);
    expect((await stat(join(dataDir, 'cluster', 'password'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(dataDir, 'cluster'))).mode & 0o777).toBe(0o700);
  });

  test('begins anew after one that was killed in the middle of creating the cluster', async () => {
    const first = spawnOwner();
    while (!(await hasEntry(dataDir, /^cluster\.draft-/))) await sleep(5);
    await sleep(100);
    await kill9(first);

    const { url } = await start();

    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(await hasEntry(dataDir, /draft/)).toBe(false);
  });
});

describe('a start', () => {
  test('offers a UTF-8 database to its password holder on 127.0.0.1, and flushes to disk', async () => {
    const { url } = await start();

    const names = ['server_encoding', 'listen_addresses', 'unix_socket_directories', 'fsync', 'password_encryption'];
    const settings = names.map((name) => `current_setting('${name}') AS ${name}`).join(', ');
    expect(await query(url, `SELECT current_database(), upper('é') AS upper, ${settings}`)).toEqual([
      {
        current_database: 'app',
        upper: 'É',
        server_encoding: 'UTF8',
        listen_addresses: '127.0.0.1',
        unix_socket_directories: '',
        fsync: 'on',
        password_encryption: 'scram-sha-256',
      },
    ]);
    const stranger = new URL(url);
    stranger.password = 'guessed';
    await expect(query(stranger.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
  });

  test('takes settings for this run and the port it is given', async () => {
    const { url } = await start();
    const port = Number(new URL(url).port);
    await undo.pop()?.();

    const again = await start({ port, settings: { fsync: 'off', work_mem: '5MB' } });

    expect(new URL(again.url).port).toBe(`${port}`);
    expect(await query(again.url, "SELECT current_setting('work_mem') AS work_mem")).toEqual([{ work_mem: '5MB' }]);
  });

  test('says what Postgres said when a setting is wrong, and another start is free to follow', async () => {
    await expect(start({ settings: { shared_buffers: 'lots' } })).rejects.toThrow(/invalid value.*shared_buffers/);

    await expect(start()).resolves.toBeDefined();
  });

  test('names the way out when the binaries are not installed', async () => {
    const module = join(directory, 'embedded.mjs');
    await copyFile(MODULE, module);
    // The folder is empty, so that Node doesn't find the package in a node_modules further up.
    await mkdir(join(directory, 'node_modules', PACKAGE), { recursive: true });

    await expect(startOwner({ module })).rejects.toThrow(/isn't installed.*npm ci/);
  });
});

describe('a stop', () => {
  test('leaves no process and no mark of an owner', async () => {
    const postgres = await start();

    await postgres.stop();

    expect(isAlive(postgres.pid)).toBe(false);
    expect(await readdir(dataDir)).toEqual(['cluster']);
  });

  test('may be asked for twice', async () => {
    const postgres = await start();

    await Promise.all([postgres.stop(), postgres.stop()]);
    await postgres.stop();

    expect(isAlive(postgres.pid)).toBe(false);
  });

  test('ends the connections that are open', async () => {
    const postgres = await start();
    const sleeper = query(postgres.url, 'SELECT pg_sleep(60)').catch((error: unknown) => String(error));
    await sleep(200);

    await postgres.stop();

    expect(await sleeper).toMatch(/terminating connection/);
  });

  test("is the owner's to order: Ctrl-C in its terminal does not reach Postgres", async () => {
    const owner = await startOwner();

    process.kill(-pidOf(owner.process), 'SIGINT');
    await sleep(300);

    expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

describe('after the owner was killed with -9', () => {
  test('its Postgres is stopped and its data served by a new one', async () => {
    const killed = await startOwner();
    const note = await writeNote(killed.url);
    await kill9(killed.process);
    expect(isAlive(killed.pid)).toBe(true);

    const { url, pid } = await start();

    expect(pid).not.toBe(killed.pid);
    expect(isAlive(killed.pid)).toBe(false);
    expect(await readNote(url)).toBe(note);
  });

  test('a pid file of a Postgres that died with it is no obstacle', async () => {
    const killed = await startOwner();
    await kill9(killed.process);
    process.kill(killed.pid, 'SIGKILL');

    const { url } = await start();

    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a pid file whose pid now belongs to another process is no obstacle, and that process lives on', async () => {
    const pidFile = join(dataDir, 'cluster', 'data', 'postmaster.pid');
    const { uid, gid } = await stat(dirname(pidFile));
    // The process has the same user as Postgres. In this case Postgres itself would refuse.
    const bystander = spawn('sleep', ['60'], process.getuid?.() === 0 ? { uid, gid } : {});
    undo.push(() => kill9(bystander));
    await writeFile(pidFile, `${pidOf(bystander)}\n${dirname(pidFile)}\n`);

    const { url } = await start();

    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(isAlive(pidOf(bystander))).toBe(true);
  });
});

describe('while the owner lives', () => {
  test('a second process is refused, by name of the first, whose Postgres goes on', async () => {
    const owner = await startOwner();

    await expect(start()).rejects.toThrow(`Process ${pidOf(owner.process)} already runs`);

    expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('a second start of its own is refused as well', async () => {
    const { url } = await start();

    await expect(start()).rejects.toThrow('already runs');

    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('of several that start at once, at most one goes on, and then it works', async () => {
    const starts = await Promise.allSettled([startOwner(), startOwner(), startOwner(), startOwner()]);

    const started = starts.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(started.length).toBeLessThanOrEqual(1);
    for (const { url } of started) expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

test('an installation without install scripts gets the links between its shared libraries', async () => {
  const { module, packageDir } = await copyProject();
  const libraries = join(packageDir, 'native', 'lib');
  for (const name of await readdir(libraries)) {
    if ((await lstat(join(libraries, name))).isSymbolicLink()) await rm(join(libraries, name));
  }

  const { url } = await startOwner({ module });

  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

// Only root can see what root does. Everything above ran as the user of the tests.
if (process.getuid?.() === 0) {
  describe('root', () => {
    test("gets a Postgres that isn't root's", async () => {
      const { pid } = await start();

      expect((await stat(`/proc/${pid}`)).uid).not.toBe(0);
    });

    test("gets one in a folder that Postgres' user can't enter, and its modes stay", async () => {
      const { module } = await copyProject();
      await chmod(directory, 0o700);
      dataDir = join(directory, 'new', 'data');
      const first = await startOwner({ module });
      const note = await writeNote(first.url);
      await stop(first);

      const second = await startOwner({ module });

      expect(await readNote(second.url)).toBe(note);
      expect((await stat(`/proc/${second.pid}`)).uid).not.toBe(0);
      expect((await stat(directory)).mode & 0o777).toBe(0o700);
    });

    test('may start what an ordinary user created, who may start it again', async () => {
      const { module } = await copyProject();
      const nobody = { uid: idOf('-u', 'nobody'), gid: idOf('-g', 'nobody') };
      // The user `nobody` can run this copy, wherever node is installed.
      const node = join(directory, 'node');
      await copyFile(process.execPath, node);
      dataDir = join(directory, 'of-nobody');
      await mkdir(dataDir);
      await chown(dataDir, nobody.uid, nobody.gid);
      const first = await startOwner({ module, node, user: nobody });
      expect((await stat(`/proc/${first.pid}`)).uid).toBe(nobody.uid);
      const note = await writeNote(first.url);
      await stop(first);
      await stop(await startOwner({ module }));

      const third = await startOwner({ module, node, user: nobody });

      expect(await readNote(third.url)).toBe(note);
    });
  });
}

/** Starts Postgres in this process. It is stopped after the test if the test doesn't. */
async function start(options: { port?: number; settings?: Record<string, string> } = {}): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, log: () => undefined, ...options });
  undo.push(() => postgres.stop());
  return postgres;
}

interface OwnerOptions {
  module?: string;
  node?: string;
  user?: { uid: number; gid: number };
}

/**
 * Starts Postgres in a process of its own. @throws with the stderr of that process, if it ends before Postgres has
 * started
 */
async function startOwner(options: OwnerOptions = {}): Promise<Owner> {
  const owner = spawnOwner(options);
  let complaint = '';
  owner.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  const address = once(createInterface({ input: owner.stdout }), 'line') as Promise<[string]>;
  const ended = once(owner, 'close').then((): never => {
    throw new Error(complaint);
  });
  const [line] = await Promise.race([address, ended]);
  const { url, pid } = JSON.parse(line) as { url: string; pid: number };
  undo.push(() => endPostgres(pid));
  return { process: owner, url, pid };
}

function spawnOwner({ module = MODULE, node = process.execPath, user }: OwnerOptions = {}) {
  const args = ['--input-type=module', '--eval', OWNER, pathToFileURL(module).href, dataDir];
  const options = { cwd: '/', env: { PATH: process.env.PATH }, detached: true, ...user };
  const owner = spawn(node, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  undo.push(() => kill9(owner));
  return owner;
}

async function stop(owner: Owner): Promise<void> {
  owner.process.kill('SIGTERM');
  await once(owner.process, 'exit');
}

async function kill9(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function endPostgres(pid: number): Promise<void> {
  if (isAlive(pid)) process.kill(pid, 'SIGQUIT');
  while (isAlive(pid)) await sleep(20);
}

async function writeNote(url: string): Promise<string> {
  const note = randomUUID();
  await query(url, `DROP TABLE IF EXISTS notes; CREATE TABLE notes AS SELECT '${note}' AS note`);
  return note;
}

async function readNote(url: string): Promise<unknown> {
  const [row] = await query(url, 'SELECT note FROM notes');
  return row?.note;
}

/** The smallest project that can start Postgres: `src/database/embedded.js` and the binaries. */
async function copyProject(): Promise<{ module: string; packageDir: string }> {
  const module = join(directory, 'embedded.mjs');
  const packageDir = join(directory, 'node_modules', PACKAGE);
  await copyFile(MODULE, module);
  const original = dirname(dirname(createRequire(import.meta.url).resolve(PACKAGE)));
  await cp(original, packageDir, { recursive: true, verbatimSymlinks: true });
  return { module, packageDir };
}

async function makeDirectory(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'embedded-postgres-'));
  await chmod(made, 0o755);
  return made;
}

async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie has ended too. It waits for pid 1 to collect it.
    return process.platform !== 'linux' || !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the process has not started');
  return child.pid;
}

function idOf(flag: '-u' | '-g', name: string): number {
  return Number(execFileSync('id', [flag, name], { encoding: 'utf8' }));
}

async function hasEntry(folder: string, pattern: RegExp): Promise<boolean> {
  return (await readdir(folder).catch(() => [])).some((name) => pattern.test(name));
}
