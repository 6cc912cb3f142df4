import { type Environment, givenVariables } from './given.js';

const PROXY_VARIABLES = ['HTTPS_PROXY', 'https_proxy'];
/** Without it, Node's `fetch` takes no notice of the others. */
const SWITCH = 'NODE_USE_ENV_PROXY';
/** Where Node has this option, it knows the switch. */
const OPTION = '--use-env-proxy';

/** Why calls to Ring don't go through the proxy that the environment names; undefined when they do, or it names none. */
export function reasonOfUnusedProxy(environment: Environment): string | undefined {
  const given = givenVariables(environment);
  const named = PROXY_VARIABLES.find((name) => given[name] !== undefined);
  if (named === undefined || process.execArgv.includes(OPTION)) return undefined;
  if (!process.allowedNodeEnvironmentFlags.has(OPTION)) {
    return `${named}: this Node can't send calls to Ring through a proxy; expected Node 22.21, 24.5 or newer`;
  }
  if (given[SWITCH] === '1' || given.NODE_OPTIONS?.includes(OPTION) === true) return undefined;
  return `${named}: calls to Ring don't go through it; expected ${SWITCH}=1 beside it`;
}
