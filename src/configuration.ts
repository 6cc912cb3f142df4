import { type Config, isProduction, readConfig } from './config.js';
import { withDevelopmentSecrets } from './development.js';
import { DATA_DIR } from './paths.js';

/** The configuration of this process: outside production, completed by generated secrets. @throws {ConfigError} */
export function readConfiguration(): Config {
  return readConfig(isProduction(process.env) ? process.env : withDevelopmentSecrets(process.env, DATA_DIR));
}
