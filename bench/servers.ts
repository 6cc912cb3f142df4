import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Usage } from './probe.js';

const PROBE = new URL('probe.js', import.meta.url).href;

/** A receiver in a process of its own. */
export interface Server {
  name: string;
  port: number;
  usage(): Promise<Usage>;
  stop(): Promise<void>;
}

export interface ServerOptions {
  name: string;
  /** The file that Node runs. */
  entry: string;
  /** The whole environment of the process, apart from PATH and PORT. */
  environment: Record<string, string>;
  /** The folder of its log. */
  directory: string;
}

/** Starts a server and waits until its `/readyz` answers 200. */
export async function startServer({ name, entry, environment, directory }: ServerOptions): Promise<Server> {
  const port = await freePort();
  const log = await open(join(directory, `${name}.log`), 'w');
  const child = spawn(process.execPath, ['--expose-gc', '--import', PROBE, entry], {
    cwd: directory,
    env: { PATH: process.env.PATH, ...environment, PORT: `${port}` },
    stdio: ['ignore', log.fd, 'inherit', 'ipc'],
  });
  await log.close();
  await isReady(child, name, port);
  return {
    name,
    port,
    async usage() {
      child.send('usage');
      const [usage] = (await once(child, 'message')) as [Usage];
      return usage;
    },
    async stop() {
      if (hasEnded(child)) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

async function isReady(child: ChildProcess, name: string, port: number): Promise<void> {
  for (;;) {
    if (hasEnded(child)) throw new Error(`${name} ended while it was starting`);
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return;
    await delay(100);
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
