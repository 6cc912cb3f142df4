import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export const HMAC_KEY = 'a-key-as-long-as-the-one-that-ring-issues-to-a-partner';
export const ACCOUNT_IDS = Array.from({ length: 200 }, () => `ava1.ring.account.${randomUUID()}`);
export const DEVICES_EACH = 2;
export const deviceId = (accountId: string, index: number): string => `${accountId}.device.${index}`;

const CONNECTIONS = 64;
/** Most of what Ring sends is motion. */
const TYPES = ['motion_detected', 'motion_detected', 'motion_detected', 'button_press', 'device_online'];

export interface Load {
  /** How many requests were answered 200. */
  stored: number;
  /** How many had any other answer, or none. */
  refused: number;
  seconds: number;
  /** The time of each answer, in ms, in ascending order. */
  latencies: Float64Array;
}

/** Signed requests as bytes, each with an ID of its own. They are made before the measurement starts. */
export function prepareRequests(count: number): Buffer[] {
  return requestsOf(ACCOUNT_IDS, count);
}

/** The same of these accounts alone. */
export function requestsOf(accountIds: readonly string[], count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const body = Buffer.from(JSON.stringify(newEvent(accountIds, index)));
    const head = [
      'POST /webhooks/ring HTTP/1.1',
      'Host: partner.example.com',
      'Content-Type: application/json',
      `X-Signature: sha256=${createHmac('sha256', HMAC_KEY).update(body).digest('hex')}`,
      `Content-Length: ${body.length}`,
      '\r\n',
    ];
    return Buffer.concat([Buffer.from(head.join('\r\n')), body]);
  });
}

function newEvent(accountIds: readonly string[], index: number): object {
  const accountId = accountIds[Math.floor(Math.random() * accountIds.length)] ?? '';
  const type = TYPES[index % TYPES.length];
  const source = deviceId(accountId, index % DEVICES_EACH);
  const now = Date.now();
  return {
    meta: { version: '1.1', time: new Date(now).toISOString(), request_id: randomUUID(), account_id: accountId },
    data: {
      id: `event-${randomUUID()}`,
      type,
      ...(type === 'motion_detected' && { subType: 'human' }),
      attributes: { source, source_type: 'devices', timestamp: now },
      relationships: { devices: { links: { self: `/v1/devices/${source}` } } },
    },
  };
}

/**
 * Sends all requests over kept connections, the next one on each connection as soon as the last is answered. The
 * sockets are bare, because the generator shares the machine with the service that it measures.
 *
 * @param ports the connections are spread over them
 */
export async function sendAll(ports: readonly number[], requests: readonly Buffer[]): Promise<Load> {
  const count = Math.min(CONNECTIONS, requests.length);
  const sockets = await Promise.all(
    Array.from({ length: count }, (_, index) => open(ports[index % ports.length] ?? 0)),
  );
  const queue = requests.entries();
  const latencies = new Float64Array(requests.length);
  let stored = 0;
  const start = performance.now();
  await Promise.all(
    sockets.map(async (socket) => {
      // One queue feeds all connections.
      for (const [index, request] of queue) {
        const sentAt = performance.now();
        if ((await exchange(socket, request)) === 200) stored++;
        latencies[index] = performance.now() - sentAt;
      }
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  for (const socket of sockets) socket.destroy();
  return { stored, refused: requests.length - stored, seconds, latencies: latencies.sort() };
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  await once(socket, 'connect');
  return socket;
}

/** Returns the status. Nothing else of the answer is read but its end, because reading costs time. */
function exchange(socket: Socket, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const onData = (chunk: Buffer) => {
      answer += chunk.toString('latin1');
      const headEnd = answer.indexOf('\r\n\r\n');
      if (headEnd === -1) return;
      const [, length = '0'] = /\r\ncontent-length: (\d+)\r\n/i.exec(answer) ?? [];
      if (answer.length < headEnd + 4 + Number(length)) return;
      stopListening();
      resolve(Number(answer.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length)));
    };
    const onEnd = () => {
      stopListening();
      reject(new Error('the server hung up'));
    };
    const stopListening = () => socket.off('data', onData).off('close', onEnd).off('error', onEnd);
    socket.on('data', onData).on('close', onEnd).on('error', onEnd);
    socket.write(request);
  });
}
