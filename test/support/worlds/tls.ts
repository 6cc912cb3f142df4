import { execFile } from 'node:child_process';
import { chmod, chown, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { clusterTemplate } from './postgres.js';

const execute = promisify(execFile);

/** Settings with which a Postgres takes TLS alone, under a certificate that it has signed itself. */
export interface SelfSigned {
  /** For `startOwnPostgres`. */
  settings: Record<string, string>;
  /** The path of the certificate, which is its own authority. */
  certificate: string;
  remove(): Promise<void>;
}

/** Makes a certificate for a host. The files belong to the user that Postgres runs as, who takes no others. */
export async function makeSelfSigned(host: string): Promise<SelfSigned> {
  const folder = await mkdtemp(join(tmpdir(), 'tls-'));
  const [certificate, key, rules] = ['server.pem', 'server.key', 'pg_hba.conf'].map((name) => join(folder, name));
  const subject = ['-subj', '/CN=test', '-addext', `subjectAltName=DNS:${host}`];
  const making = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', `${key}`];
  await execute('openssl', [...making, '-out', `${certificate}`, ...subject]);
  await writeFile(`${rules}`, 'hostssl all all 127.0.0.1/32 scram-sha-256\n');
  const { uid, gid } = await stat(join(clusterTemplate(), 'cluster'));
  await chmod(folder, 0o711);
  await chmod(`${key}`, 0o600);
  for (const file of [certificate, key, rules]) await chown(`${file}`, uid, gid);
  return {
    settings: { ssl: 'on', ssl_cert_file: `${certificate}`, ssl_key_file: `${key}`, hba_file: `${rules}` },
    certificate: `${certificate}`,
    remove: () => rm(folder, { recursive: true }),
  };
}
