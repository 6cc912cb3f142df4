/**
 * The floors of the house, from the ground up: a room imports only from floors below its own, so no import runs back up
 * and no two rooms need each other. A room is a folder of `src`, or a file that stands there alone.
 *
 * A new room is a new line here. What the two rooms of one floor share belongs on a floor below.
 */
const FLOORS = [
  ['configuration', 'time', 'ring', 'request-id.ts'],
  ['database', 'ring-check'],
  ['development'],
  ['http', 'jobs'],
  ['ring-accounts', 'users'],
  ['tokens', 'devices'],
  ['core.ts'],
  ['inbox', 'events', 'live-views', 'pictures'],
  ['inventory'],
  ['linking'],
  ['webhooks'],
  ['my-data', 'pages', 'operations'],
  ['app.ts', 'commands', 'job-lanes.ts', 'periodic-tasks.ts'],
  ['service.ts'],
  ['main.ts'],
];

/** The same for Ring, played on this machine. It talks to the app over HTTP alone: it imports nothing of it. */
const SIMULATOR_FLOORS = [
  ['media'],
  ['state'],
  ['outbound'],
  ['api', 'life'],
  ['appstore', 'control', 'recorded'],
  ['simulator.ts'],
  ['environment.ts'],
  ['main.ts'],
];

/** The files of the source that npm and Docker run, and the one that a thread runs. */
const ENTRY_POINTS = [
  '^src/main\\.ts$',
  '^src/simulator/main\\.ts$',
  '^src/commands/(?!command\\.ts$)',
  '^src/development/tables\\.ts$',
  '^src/users/hash-worker\\.ts$',
];

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'nothing-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'every-file-has-a-reader',
      comment: 'A file of the source is imported by another one of it, or it is run. A test alone keeps nothing alive.',
      severity: 'error',
      from: { path: '^src/' },
      module: { path: '^src/', pathNot: ENTRY_POINTS, numberOfDependentsLessThan: 1 },
    },
    {
      name: 'ring-knows-nothing-of-ours',
      severity: 'error',
      from: { path: '^src/ring/' },
      to: { path: ['^src/(?!ring/)', 'node_modules/(express|pg|knex)/'] },
    },
    {
      name: 'simulator-imports-nothing-of-the-app',
      comment: 'The simulator plays Ring from outside: if it could import the app, it would prove nothing.',
      severity: 'error',
      from: { path: '^src/simulator/' },
      to: { path: '^src/(?!simulator/)' },
    },
    {
      name: 'app-imports-nothing-of-the-simulator',
      comment: 'The process starts the simulator in development; nothing else knows that there is one.',
      severity: 'error',
      from: { path: '^src/(?!simulator/|main\\.ts$)' },
      to: { path: '^src/simulator/' },
    },
    {
      name: 'source-imports-no-test',
      severity: 'error',
      from: { path: '^(src|migrations)/' },
      to: { path: '^(test|bench)/' },
    },
    {
      name: 'every-room-has-its-floor',
      severity: 'error',
      from: { path: '^src/', pathNot: [...roomsOf('src', FLOORS), ...roomsOf('src/simulator', SIMULATOR_FLOORS)] },
      to: {},
    },
    ...noImportRunsUp('src', FLOORS),
    ...noImportRunsUp('src/simulator', SIMULATOR_FLOORS),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { conditionNames: ['import', 'node', 'default', 'types'], exportsFields: ['exports'] },
  },
};

/** The paths of some floors' rooms. */
function roomsOf(root, floors) {
  return floors.flat().map((room) => `^${root}/${room.replace('.', '\\.')}${room.endsWith('.ts') ? '$' : '/'}`);
}

/** A rule for each room: it may not import the other rooms of its own floor, nor those above. */
function noImportRunsUp(root, floors) {
  return floors.flatMap((floor, height) =>
    floor.map((room) => ({
      name: `no-import-runs-up-from-${root}/${room}`,
      severity: 'error',
      from: { path: roomsOf(root, [[room]]) },
      to: { path: roomsOf(root, floors.slice(height)), pathNot: roomsOf(root, [[room]]) },
    })),
  );
}
