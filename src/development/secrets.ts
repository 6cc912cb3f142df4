import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type Config, isProduction, readConfig, RING_CREDENTIALS, wantsSimulator } from '../configuration/config.js';
import { type Environment, givenVariables } from '../configuration/given.js';
import { DATA_DIR } from '../configuration/paths.js';

/** The configuration of this process: outside production, completed by generated secrets. @throws {ConfigError} */
export function readOwnConfig(): Config {
  const given = givenVariables(process.env);
  return readConfig(isProduction(given) ? given : withDevelopmentSecrets(given, DATA_DIR));
}

const Secrets = z.record(z.string(), z.string());

/**
 * Completes a development environment with generated secrets, kept in `<dataDir>/secrets.json` (mode 0600) so that a
 * second start can still read what the first one encrypted. Ring credentials are generated for the simulator only:
 * against the real Ring, a missing one has to be an error. Never called in production.
 */
function withDevelopmentSecrets(environment: Environment, dataDir: string): Environment {
  const simulator = wantsSimulator(environment);
  const needed = ['SESSION_SECRET', 'TOKEN_ENCRYPTION_KEYS', ...(simulator ? RING_CREDENTIALS : [])];
  const missing = needed.filter((name) => !environment[name]);
  if (missing.length === 0) return environment;
  const secrets = readOrCreateSecrets(join(dataDir, 'secrets.json'), dataDir);
  return {
    ...environment,
    ...Object.fromEntries(missing.map((name) => [name, secrets[name]])),
    // Said explicitly: without it, the credentials that are there now would mean the real Ring.
    ...(simulator && { RING_SIMULATOR: 'on' }),
  };
}

function readOrCreateSecrets(file: string, dataDir: string): Record<string, string> {
  mkdirSync(dataDir, { recursive: true });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(generateSecrets(), null, 2), { mode: 0o600 });
  try {
    // A link appears whole or not at all, and only for the first of two processes that start at once.
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
  return Secrets.parse(JSON.parse(readFileSync(file, 'utf8')));
}

function generateSecrets(): Record<string, string> {
  return {
    RING_CLIENT_ID: `simulated-${randomBytes(6).toString('hex')}`,
    RING_CLIENT_SECRET: randomBytes(24).toString('base64url'),
    RING_HMAC_KEY: randomBytes(32).toString('base64url'),
    SESSION_SECRET: randomBytes(32).toString('base64url'),
    TOKEN_ENCRYPTION_KEYS: `development:${randomBytes(32).toString('base64')}`,
  };
}
