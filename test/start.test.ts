import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../src/database/tables.js';
import { Visitor } from './support/clients/visitor.js';
import { cards } from './support/features/linking.js';
import { scrape } from './support/inspection/metrics.js';
import { until } from './support/waiting/until.js';
import {
  type AppProcess,
  createProcessWorld,
  freePorts,
  isReady,
  type ProcessWorld,
  spawnProcess,
  statusOf,
} from './support/worlds/process.js';
import { Ring, type RingUser } from './support/worlds/ring.js';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const PASSWORD = 'correct horse battery staple';

/** A checkout with a `.data` of its own. */
interface Checkout {
  directory: string;
  port: number;
  /** Runs `npm start`, as a developer does in a terminal. */
  npmStart(environment?: Record<string, string>): AppProcess;
  /** Runs what `npm start` runs, without the time that npm and the compiler take. */
  start(environment?: Record<string, string>): AppProcess;
  /** The processes that run in it, or have its path in their arguments. */
  processes(): string[];
}

const checkouts: Checkout[] = [];

async function makeCheckout(): Promise<Checkout> {
  const directory = await mkdtemp(join(tmpdir(), 'checkout-'));
  const files = ['package.json', 'build.js', 'tsconfig.json', 'src', 'migrations', 'test', 'bench', 'views', 'dist'];
  for (const file of files.filter((name) => existsSync(join(PROJECT, name)))) {
    await cp(join(PROJECT, file), join(directory, file), { recursive: true, preserveTimestamps: true });
  }
  await symlink(join(PROJECT, 'node_modules'), join(directory, 'node_modules'));
  const home = join(directory, 'home');
  await mkdir(home);
  const port = await freePorts();
  const standard = { HOME: home, PORT: `${port}` };
  const checkout = {
    directory,
    port,
    npmStart: (environment = {}) => spawnProcess('npm', ['start'], { ...standard, ...environment }, directory),
    start: (environment = {}) =>
      spawnProcess(process.execPath, ['dist/src/main.js'], { ...standard, ...environment }, directory),
    processes: () => processesIn(directory),
  };
  checkouts.push(checkout);
  return checkout;
}

afterAll(async () => {
  for (const { directory } of checkouts) {
    for (const process_ of processesIn(directory)) process.kill(Number.parseInt(process_, 10), 'SIGKILL');
    await until('nothing runs there', () => Promise.resolve(processesIn(directory).length === 0));
    await rm(directory, { recursive: true, force: true, maxRetries: 10 });
  }
});

describe('npm start', () => {
  let checkout: Checkout;
  let app: AppProcess;
  let ring: Ring;
  const email = 'developer@example.com';

  beforeAll(async () => {
    checkout = await makeCheckout();
    // West of the embedded Postgres, which uses UTC.
    app = checkout.npmStart({ TZ: 'America/New_York' });
    await until('both addresses are printed', () => Promise.resolve(/Ring simulator.*http/.test(app.stdout())));
    ring = new Ring(`http://localhost:${checkout.port + 1}`);
  });

  test('prints the two addresses, and both answer', async () => {
    const addresses = app.stdout().match(/^[^{\n]*: (http:\S+)$/gm) ?? [];
    const urls = addresses.map((line) => line.slice(line.indexOf('http:')));

    expect(urls).toEqual([`http://localhost:${checkout.port}/ring/home`, `http://localhost:${checkout.port + 1}`]);
    for (const url of urls) expect(await statusOf(url)).toBe(200);
    await isReady(app, `http://localhost:${checkout.port}`);
  });

  test('links an account of the simulator', async () => {
    const ringUser = await ring.createUser();
    expect((await ring.install(ringUser)).callback?.status).toBe(200);
    const visitor = new Visitor(`http://localhost:${checkout.port}`);
    await visitor.open((await ring.linkUrl(ringUser)).url);
    await visitor.submit('/sign-up', { email, password: PASSWORD });

    expect(visitor.heading).toBe('Your Ring account is linked');
    expect(await ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
    // The simulator loses its tokens when it stops, so calls with them must be finished before.
    await until('nothing is left to do', async () => {
      const metrics = await scrape(`http://localhost:${checkout.port}`);
      return ['due', 'running', 'scheduled'].every((state) => metrics.value(`ring_link_jobs{state="${state}"}`) === 0);
    });
  });

  test('keeps its generated secrets to its owner', async () => {
    const file = join(checkout.directory, '.data', 'secrets.json');
    expect((await stat(file)).mode & 0o077).toBe(0);
    const written = app.stdout() + app.stderr();
    for (const secret of Object.values(JSON.parse(await readFile(file, 'utf8')) as Record<string, string>)) {
      expect(written).not.toContain(secret);
    }
  });

  test('ends on Ctrl-C, with no process left', async () => {
    app.killGroup('SIGINT');
    await app.ended;

    expect(app.stdout()).not.toContain('did not stop');
    expect(checkout.processes()).toEqual([]);
  });

  test('finds its users and their links again', async () => {
    app = checkout.start();
    await isReady(app, `http://localhost:${checkout.port}`);
    const visitor = new Visitor(`http://localhost:${checkout.port}`);
    await visitor.open('/ring/home');
    await visitor.submit('/sign-in', { email, password: PASSWORD });

    expect(visitor.page.status).toBe(200);
    expect(visitor.page.text).toContain(email);
    expect(cards(visitor)).toEqual(['Linked']);
  });

  test('ends on Ctrl-C with no process left also while a browser keeps connections open', async () => {
    // Browsers open connections in advance. One of these has sent nothing, the other half a request.
    const silent = connect(checkout.port, '127.0.0.1');
    const half = connect(checkout.port, '127.0.0.1');
    for (const socket of [silent, half]) {
      socket.on('error', () => undefined);
      await once(socket, 'connect');
    }
    half.write('GET /ring/home HTTP/1.1\r\nHost: localhost\r\n');
    // Connections are taken in their order. So the app has taken these before it answers on another one.
    expect(await statusOf(`http://localhost:${checkout.port}/livez`)).toBe(200);

    app.killGroup('SIGINT');
    await app.ended;
    silent.destroy();
    half.destroy();

    expect(checkout.processes()).toEqual([]);
    expect(app.stdout()).not.toContain('did not stop');
  });
});

describe('Ctrl-C during the start', () => {
  let checkout: Checkout;
  beforeAll(async () => {
    checkout = await makeCheckout();
  });

  const inPostgresFolder = (name: RegExp) => {
    const folder = join(checkout.directory, '.data', 'postgres');
    return existsSync(folder) && readdirSync(folder).some((entry) => name.test(entry));
  };
  const postmaster = () => join(checkout.directory, '.data/postgres/cluster/data/postmaster.pid');
  const isReadyPostgres = () => existsSync(postmaster()) && /^ready/m.test(readFileSync(postmaster(), 'utf8'));

  test.each<[string, (app: AppProcess) => Promise<unknown>]>([
    ['while the database cluster is created', () => soon('a draft', () => inPostgresFolder(/^cluster\.draft/))],
    ['as the first Postgres starts', () => soon('a Postgres', () => existsSync(postmaster()))],
    ['as the app says that it is there', (app) => soon('the app', () => app.stdout().includes('The app'))],
    ['before the app has done anything', () => Promise.resolve()],
    ['as Postgres is ready', () => soon('a ready Postgres', () => isReadyPostgres())],
  ])('%s leaves no process behind', async (_when, moment) => {
    const app = checkout.start();
    await moment(app);
    app.killGroup('SIGINT');
    await app.ended;

    expect(checkout.processes()).toEqual([]);
    expect(app.stdout()).not.toContain('did not stop');
  });

  test('does not keep the next start from working', async () => {
    const app = checkout.start();
    await isReady(app, `http://localhost:${checkout.port}`);
    app.killGroup('SIGINT');

    expect(await app.ended).toEqual({ code: 0, signal: null });
    expect(checkout.processes()).toEqual([]);
  });
});

describe('a start that can not succeed', () => {
  let checkout: Checkout;
  beforeAll(async () => {
    checkout = await makeCheckout();
  });

  test.each([
    ['because a Ring credential is missing', { RING_CLIENT_ID: 'an-id' }, ['RING_CLIENT_SECRET', 'RING_HMAC_KEY']],
    ['because a variable is bad', { RING_SIMULATOR: 'yes' }, ['RING_SIMULATOR']],
  ])('%s, names what is wrong, and starts no Postgres', async (_why, environment: Record<string, string>, named) => {
    const app = checkout.start(environment);

    expect(await app.ended).toEqual({ code: 1, signal: null });
    for (const name of named) expect(app.stderr()).toMatch(new RegExp(`^${name}: `, 'm'));
    expect(existsSync(join(checkout.directory, '.data', 'postgres'))).toBe(false);
  });

  test('because a port is taken, ends with 1, says so, and leaves no process behind', async () => {
    const squatter = createServer().listen(checkout.port + 1, '127.0.0.1');
    await once(squatter, 'listening');

    const app = checkout.start();
    const ended = await app.ended;
    squatter.close();

    expect(ended).toEqual({ code: 1, signal: null });
    expect(app.stdout() + app.stderr()).toContain('EADDRINUSE');
    expect(checkout.processes()).toEqual([]);
  });
});

describe('SIGTERM', () => {
  let world: ProcessWorld;
  beforeAll(async () => {
    world = await createProcessWorld();
  });
  afterAll(() => world.stop());

  test('lets the request and the job that are under way finish, and loses nothing', async () => {
    const app = await world.startApp();
    const [ofRequest, ofJob] = [await world.ring.createUser(), await world.ring.createUser()];
    const { code } = await world.ring.issueCode(ofRequest);
    await world.ring.setFaults([
      { endpoint: 'users-me', fault: { kind: 'hold' }, times: 1 },
      { endpoint: 'token', fault: { kind: 'delay', ms: 0 }, times: 1 },
      { endpoint: 'token', fault: { kind: 'hold' }, times: 1 },
    ]);
    await world.ring.install(ofJob);
    const answer = fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });
    await until('Ring has both', async () => (await waiting()).length === 2);

    app.kill('SIGTERM');
    await until('new requests are turned away', async () => (await statusOf(`${world.url}/livez`)) === undefined);
    await world.ring.release();

    expect((await answer).status).toBe(200);
    expect(await app.ended).toEqual({ code: 0, signal: null });
    expect(app.stdout()).not.toContain('did not stop');
    expect(await statusesOf(ofJob)).toEqual(['UNCLAIMED']);

    await world.startApp();
    await until('the other pair is unclaimed', async () => (await statusesOf(ofRequest))[0] === 'UNCLAIMED');
  });

  async function waiting() {
    return (await world.ring.requests()).filter(({ status }) => status === null);
  }

  async function statusesOf({ account_id }: RingUser): Promise<string[]> {
    const rows = await world.sql<Pick<Tables['ring_tokens'], 'status'>>(
      'SELECT status FROM ring_tokens WHERE account_id = $1',
      [account_id],
    );
    return rows.map(({ status }) => status);
  }
});

const soon = (what: string, isThere: () => boolean) => until(`${what} is there`, () => Promise.resolve(isThere()));

/** `pid command` of each process that works in this folder or below, or has it among its arguments. */
function processesIn(directory: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        const isThere = readlinkSync(`/proc/${pid}/cwd`).startsWith(directory) || command.includes(directory);
        const isZombie = readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
        return isThere && !isZombie ? [`${pid} ${command}`] : [];
      } catch {
        return []; // The process has ended, or belongs to another user.
      }
    });
}
