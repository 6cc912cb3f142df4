/** Tests run as the JavaScript that `npm run build` wrote: what is tested is what is started. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/dist/test'],
  testMatch: ['**/*.test.js'],
  transform: {},
  globalSetup: '<rootDir>/dist/test/support/global-setup.js',
  globalTeardown: '<rootDir>/dist/test/support/global-teardown.js',
  testTimeout: 30_000,
  // More than cores: the suites wait for Ring, for Postgres and for browsers more than they compute.
  maxWorkers: 4,
};
