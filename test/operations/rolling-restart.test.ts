import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import type { Visitor } from '../support/clients/visitor.js';
import { deliver, type Envelope, newEvent } from '../support/clients/webhooks.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { isNothingLeft } from '../support/features/inbox.js';
import { newEmail, pairStatuses, PASSWORD } from '../support/features/linking.js';
import { until } from '../support/waiting/until.js';
import {
  type AppProcess,
  createProcessWorld,
  freePorts,
  type ProcessWorld,
  statusOf,
} from '../support/worlds/process.js';
import type { Fault, RingUser } from '../support/worlds/ring.js';

let world: ProcessWorld;
beforeEach(async () => {
  world = await createProcessWorld();
});
afterEach(() => world.stop());

async function stop(app: AppProcess): Promise<void> {
  app.kill('SIGTERM');
  await until('the process has ended', () => Promise.resolve(app.hasEnded()));
  expect(await app.ended).toEqual({ code: 0, signal: null });
  expect(app.stdout()).not.toContain('did not stop');
}

describe('two instances that are restarted one after the other, under load,', () => {
  test('lose no webhook and no claim, even if they stop at once', () => restartBoth({ DRAIN_SECONDS: '0' }));

  test('are not noticed by any client, if they go on until the load balancer has noticed', async () => {
    const load = await restartBoth({ DRAIN_SECONDS: '2' });
    expect(load.failures).toEqual([]);
  });

  async function restartBoth(environment: Record<string, string>): Promise<Load> {
    const ports = [`${await freePorts()}`, `${await freePorts()}`];
    const start = (port = '') => world.startApp({ ...environment, PORT: port, LOG_LEVEL: 'warn' });
    const balancer = await startBalancer(Number(world.environment.PORT), ports);
    const apps = await Promise.all(ports.map(start));
    await balancer.untilReady();
    const load = new Load(await sharing(world));
    try {
      load.start();
      for (const [index, app] of apps.entries()) {
        await load.more();
        await stop(app);
        await load.more();
        await start(ports[index]);
        await balancer.untilReady();
      }
      await load.more();
      await load.stop();
      await expectNothingLost(load);
    } finally {
      await load.stop();
      await balancer.stop();
    }
    return load;
  }

  async function expectNothingLost({ owner, answered, users }: Load): Promise<void> {
    await until('no job is left, and no event', () => isNothingLeft(world));
    const stored = await world.sql<Pick<Tables['webhook_events'], 'request_id' | 'account_id' | 'status'>>(
      'SELECT request_id, account_id, status FROM webhook_events',
    );
    expect(stored.map((row) => row.request_id).sort()).toEqual(answered.map(({ meta }) => meta.request_id).sort());
    const { account_id } = owner.ringUser;
    for (const row of stored) expect(row.status).toBe(row.account_id === account_id ? 'PROCESSED' : 'PENDING');
    const applied = await world.sql<Pick<Tables['device_events'], 'request_id'>>(
      'SELECT request_id FROM device_events',
    );
    const ofLinked = answered.filter(({ meta }) => meta.account_id === account_id);
    expect(applied.map((row) => row.request_id).sort()).toEqual(ofLinked.map(({ meta }) => meta.request_id).sort());

    const links = await world.sql<Pick<Tables['account_links'], 'account_id' | 'status'>>(
      'SELECT account_id, status FROM account_links',
    );
    const came = [account_id, ...users.map((user) => user.account_id)];
    expect(links.map((link) => link.account_id).sort()).toEqual(came.sort());
    expect(new Set(links.map(({ status }) => status))).toEqual(new Set(['COMPLETED']));
    for (const user of users) expect(await world.ring.integrationOf(user)).toMatchObject({ status: 'completed' });
    const exchanges = await world.sql<Pick<Tables['token_exchanges'], 'outcome'>>(
      'SELECT DISTINCT outcome FROM token_exchanges',
    );
    expect(exchanges).toEqual([{ outcome: 'STORED' }]);
  }
});

/** Ring, which delivers until the answer is 200, and users who come to link. */
class Load {
  readonly answered: Envelope[] = [];
  /** The users who were told that they are linked, or will be. */
  readonly users: RingUser[] = [];
  /** Failures that a sender saw before it tried again. */
  readonly failures: string[] = [];
  #running: Promise<void>[] = [];
  #isStopped = false;

  constructor(readonly owner: Owner) {}

  start(): void {
    const linked = { accountId: this.owner.ringUser.account_id, deviceId: this.owner.device.id };
    this.#running = [
      ...[linked, linked, {}, {}].map((of) => this.#repeat(() => this.#deliver(newEvent(of)))),
      ...[1, 2].map(() => this.#repeat(() => this.#link())),
    ];
  }

  /** Waits until some of everything has succeeded from now on. */
  async more(): Promise<void> {
    const [events, users] = [this.answered.length + 40, this.users.length + 2];
    await until('there was more load', () =>
      Promise.resolve(this.answered.length >= events && this.users.length >= users),
    );
  }

  /** Waits until everything that has begun is finished. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  async #repeat(work: () => Promise<void>): Promise<void> {
    while (!this.#isStopped) {
      await work();
      await delay(50);
    }
  }

  async #deliver(event: Envelope): Promise<void> {
    const [body, key] = [JSON.stringify(event), world.environment.RING_HMAC_KEY ?? ''];
    await this.#untilDone('webhook', async () => {
      const { status } = await deliver(world.url, body, { key });
      if (status < 500) expect(status).toBe(200);
      return status === 200 ? undefined : status;
    });
    this.answered.push(event);
  }

  async #link(): Promise<void> {
    const ringUser = await world.ring.createUser();
    // When Ring can't bring the app its code, the user installs the app again.
    await this.#untilDone('code', async () => {
      const { callback } = await world.ring.install(ringUser);
      return callback?.status === 200 ? undefined : callback?.status;
    });
    const [visitor, email] = [world.visitor(), newEmail()];
    await this.#untilDone('page', async () => {
      await visitor.open((await world.ring.linkUrl(ringUser)).url);
      await linkAs(visitor, email);
      return /is linked$|is being finished$|is already linked$/.test(visitor.heading)
        ? undefined
        : `${visitor.page.status} ${visitor.heading}`;
    });
    this.users.push(ringUser);
  }

  /** @param attempt returns the failure, or nothing */
  async #untilDone(what: string, attempt: () => Promise<string | number | null | undefined>): Promise<void> {
    for (;;) {
      const wrong = await attempt().catch(String);
      if (wrong === undefined) return;
      this.failures.push(`${what}: ${wrong}`);
      await delay(200);
    }
  }
}

/** Links as this user, even if the first attempt has signed up or in before its answer was lost. */
async function linkAs(visitor: Visitor, email: string): Promise<void> {
  const offers = (action: string) => visitor.page.text.includes(`action="${action}"`);
  if (offers('/ring/link')) await visitor.submit('/ring/link');
  else await visitor.submit('/sign-up', { email, password: PASSWORD });
  if (visitor.page.status === 409 && offers('/sign-in'))
    await visitor.submit('/sign-in', { email, password: PASSWORD });
}

/** Asks each instance whether it is ready, and sends requests in turn to the ready ones. */
async function startBalancer(port: number, backends: string[]) {
  const ready = new Set<string>();
  const agent = new Agent({ keepAlive: true });
  let turn = 0;
  let isStopped = false;

  const polling = backends.map(async (backend) => {
    while (!isStopped) {
      if ((await statusOf(`http://127.0.0.1:${backend}/readyz`)) === 200) ready.add(backend);
      else ready.delete(backend);
      await delay(100);
    }
  });

  async function forward(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method, url, headers } = incoming;
    turn += 1;
    const first = turn % backends.length;
    for (const backend of [...backends.slice(first), ...backends.slice(0, first)].filter((one) => ready.has(one))) {
      const sent = request({ host: '127.0.0.1', port: backend, method, path: url, headers, agent });
      try {
        sent.end(Buffer.concat(chunks));
        const [response] = (await once(sent, 'response')) as [IncomingMessage];
        answer.writeHead(response.statusCode ?? 502, response.headers);
        for await (const chunk of response) answer.write(chunk);
        answer.end();
        return;
      } catch (error) {
        // Nothing was sent, so another instance may get the request.
        if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') continue;
        break;
      }
    }
    if (answer.headersSent) answer.destroy();
    else answer.writeHead(502).end();
  }

  const server = createServer((incoming, answer) => {
    forward(incoming, answer).catch(() => answer.destroy());
  });
  server.listen(port);
  await once(server, 'listening');
  return {
    untilReady: () => until('the load balancer sees all ready', () => Promise.resolve(ready.size === backends.length)),
    async stop() {
      isStopped = true;
      await Promise.all(polling);
      server.close();
      server.closeAllConnections();
      agent.destroy();
    },
  };
}

describe('an instance that is told to stop', () => {
  const HELD: Fault = { endpoint: 'token', fault: { kind: 'hold' }, when: 'after', times: 1 };

  test.each(['0', '2'])(
    'finishes what is under way, says meanwhile that it is not ready, and ends well (drain time: %s s)',
    async (DRAIN_SECONDS) => {
      const app = await world.startApp({ DRAIN_SECONDS });
      const ringUser = await world.ring.createUser();
      const { code } = await world.ring.issueCode(ringUser);
      await world.ring.setFaults([HELD]);
      const connection = connect(Number(world.environment.PORT), '127.0.0.1');
      let received = '';
      connection.on('data', (chunk: Buffer) => (received += chunk.toString()));
      const body = JSON.stringify({ code });
      connection.write(
        `POST /ring/token HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      await untilExchangeIsAsked();

      const ended = stop(app);
      await untilHeard(app);
      connection.write('GET /readyz HTTP/1.1\r\nHost: app\r\n\r\n');
      await world.ring.release();
      await once(connection, 'close');
      await ended;

      const [exchange, readiness] = received.split(/(?=HTTP\/1\.1 )/);
      expect(exchange).toMatch(/^HTTP\/1\.1 200 [\s\S]*"stored"/);
      expect(readiness).toMatch(/^HTTP\/1\.1 503 [\s\S]*"accepting":"failed"/);
      expect(await outcomes()).toEqual(['STORED']);
    },
  );

  test('stores what Ring answers to an exchange whose caller has hung up', async () => {
    const app = await world.startApp();
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    await world.ring.setFaults([HELD]);
    const caller = new AbortController();
    const answer = fetch(`${world.url}/ring/token`, {
      method: 'POST',
      body: new URLSearchParams({ code }),
      signal: caller.signal,
    }).catch(() => 'hung up');
    await untilExchangeIsAsked();

    caller.abort();
    expect(await answer).toBe('hung up');
    const ended = stop(app);
    await untilHeard(app);
    await world.ring.release();
    await ended;

    expect(await outcomes()).toEqual(['STORED']);
    expect(await world.sql('SELECT status FROM ring_tokens')).toEqual([{ status: 'RECEIVED' }]);
    await world.startApp();
    await until('the pair is in the pool', async () => (await pairStatuses(world, ringUser))[0] === 'UNCLAIMED');
  });

  const untilHeard = (app: AppProcess) =>
    until('it has heard', () => Promise.resolve(app.stdout().includes('"stopping"')));

  function untilExchangeIsAsked() {
    return until('Ring is asked', async () =>
      (await world.ring.requests()).some(({ path }) => path === '/oauth/token'),
    );
  }

  async function outcomes(): Promise<string[]> {
    const rows = await world.sql<Pick<Tables['token_exchanges'], 'outcome'>>('SELECT outcome FROM token_exchanges');
    return rows.map(({ outcome }) => outcome);
  }
});
