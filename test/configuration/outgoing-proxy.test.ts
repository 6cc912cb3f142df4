import { describe, expect, test } from '@jest/globals';
import { reasonOfUnusedProxy } from '../../src/configuration/outgoing-proxy.js';

/** Whether the Node that runs this can send calls through a proxy. */
const isAble = process.allowedNodeEnvironmentFlags.has('--use-env-proxy');
const PROXY = { HTTPS_PROXY: 'http://user:secret-1@proxy.example.com:3128' };

describe('a proxy that calls to Ring do not use', () => {
  test.each(['HTTPS_PROXY', 'https_proxy'])('is told of with what it takes, without its address (%s)', (name) => {
    const reason = reasonOfUnusedProxy({ [name]: PROXY.HTTPS_PROXY });
    expect(reason).toMatch(isAble ? /^\w+: .*expected NODE_USE_ENV_PROXY=1/ : /^\w+: .*expected Node 22\.21/);
    expect(reason).toContain(name);
    expect(reason).not.toContain('secret-1');
  });

  test('is not told of where there is none', () => {
    expect(reasonOfUnusedProxy({})).toBeUndefined();
    expect(reasonOfUnusedProxy({ HTTPS_PROXY: '' })).toBeUndefined();
  });

  (isAble ? test : test.skip)('is one that they do use with the switch', () => {
    expect(reasonOfUnusedProxy({ ...PROXY, NODE_USE_ENV_PROXY: '1' })).toBeUndefined();
    expect(reasonOfUnusedProxy({ ...PROXY, NODE_OPTIONS: '--use-env-proxy' })).toBeUndefined();
  });
});
