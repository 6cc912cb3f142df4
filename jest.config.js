import process from 'node:process';

// The suite runs in no zone that hides a time without one: the processes east of UTC, their Postgres west of it (see
// test/support/worlds/postgres.ts). Set here, before a worker or a Date exists, however jest was called.
process.env.TZ = 'Asia/Tokyo';

/** Tests run as the JavaScript that `npm run build` wrote: what is tested is what is started. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/dist/test'],
  testMatch: ['**/*.test.js'],
  transform: {},
  globalSetup: '<rootDir>/dist/test/support/suite/global-setup.js',
  globalTeardown: '<rootDir>/dist/test/support/suite/global-teardown.js',
  // How long a test may hang.
  setupFilesAfterEnv: ['<rootDir>/dist/test/support/suite/before-each-file.js'],
  // How long a process may take to end when its tests have ended, in ms: what is left open in it holds it for ever.
  workerGracefulExitTimeout: 60_000,
  openHandlesTimeout: 60_000,
  maxWorkers: 4,
};
