import type { NewUser } from './accounts.js';
import type { Device } from './devices.js';
import { newDevice } from './devices.js';

/** A zone that is no rectangle. It touches two corners of the picture. */
const FRONT_YARD = {
  id: '0e9d3c5a-7a44-4d0e-b0a5-52a3c2f4be03',
  vertices: [
    { x: 0, y: 1 },
    { x: 0.125, y: 0.4375 },
    { x: 0.5, y: 0.3125 },
    { x: 0.9375, y: 0.5 },
    { x: 1, y: 1 },
  ],
};

const SIDE_PATH = {
  id: '9a6f7c1d-31e2-4c8f-8a53-3d0a2a9c5b04',
  vertices: [
    { x: 0.6, y: 0.1 },
    { x: 0.9, y: 0.1 },
    { x: 0.75, y: 0.4 },
  ],
};

/** The neighbours' window, which the camera has to leave out. */
const NEIGHBOURS_WINDOW = {
  id: '41c2b9d7-6f0a-4f7e-9f45-0b6d8f1e7a05',
  vertices: [
    { x: 0, y: 0 },
    { x: 0.25, y: 0 },
    { x: 0.2, y: 0.3 },
    { x: 0, y: 0.35 },
  ],
};

/** Zones that a person would hardly draw: one crosses itself, one is a line, one is the whole picture. */
const ODD_ZONES = [
  {
    id: 'd7a1c5e2-93b4-4c1d-8a6e-5e2f7b3c9d06',
    vertices: [
      { x: 0.1, y: 0.1 },
      { x: 0.9, y: 0.9 },
      { x: 0.9, y: 0.1 },
      { x: 0.1, y: 0.9 },
    ],
  },
  {
    id: '6b8e0f4d-2c71-4e9a-b5d3-8f1a6c4e2b07',
    vertices: [
      { x: 0, y: 0.5 },
      { x: 0.5, y: 0.5 },
      { x: 1, y: 0.5 },
    ],
  },
  {
    id: 'f2d4b6a8-1e3c-4a5b-9c7d-0e8f6a4b2c08',
    vertices: [
      { x: 0, y: 0 },
      { x: 1, y: 0 },
      { x: 1, y: 1 },
      { x: 0, y: 1 },
    ],
  },
];

/**
 * The people who exist from the start. Ring knows much, little or nothing of their devices, as any part may be missing.
 * The objects are new on each call, because a simulation changes them.
 */
export function inventedPeople(): NewUser[] {
  return [
    {
      id: 'ada',
      account_id: 'ava1.ring.account.SIMULATED-ADA',
      attributes: {
        first_name: 'Ada',
        last_name: 'Marsh',
        email: 'ada.marsh@example.com',
        phone_number: '+1 555 0100',
      },
      devices: adasDevices(),
    },
    {
      id: 'zoe',
      account_id: 'ava1.ring.account.SIMULATED-ZOE',
      attributes: { first_name: 'Zoë', last_name: 'Ångström-Łęcka', email: 'zoë@example.org' },
      devices: zoesDevices(),
    },
    {
      id: 'sam',
      account_id: 'ava1.ring.account.SIMULATED-SAM',
      attributes: { first_name: 'Sam', last_name: 'Okafor', email: 'sam.okafor@example.net' },
      devices: samsDevices(),
    },
    {
      id: 'kim',
      account_id: 'ava1.ring.account.SIMULATED-KIM',
      attributes: { first_name: 'Kim', last_name: 'Vale', email: 'kim.vale@example.com' },
      devices: kimsDevices(),
    },
    {
      id: 'nameless',
      account_id: 'ava1.ring.account.SIMULATED-NAMELESS',
      attributes: {},
      devices: [
        newDevice({ id: 'nameless-hall', name: 'Hall', capabilities: null, configurations: null, location: null }),
        newDevice({ id: 'nameless-stairs', name: 'Stairs', capabilities: {}, configurations: {} }),
      ],
    },
  ];
}

function adasDevices(): Device[] {
  return [
    newDevice({
      id: 'ada-front-door',
      name: 'Front Door',
      configurations: {
        motion_detection: { enabled: 'on', motion_zones: [FRONT_YARD, SIDE_PATH] },
        image_enhancements: {
          color_night_vision: 'on',
          hdr: 'on',
          auto_zoom_track: 'off',
          privacy_zones: [NEIGHBOURS_WINDOW],
        },
      },
    }),
    newDevice({ id: 'ada-driveway', name: 'Driveway' }),
    newDevice({ id: 'ada-back-garden', name: 'Back Garden', power: 'battery', online: false }),
  ];
}

function zoesDevices(): Device[] {
  const location = { country: 'DE' };
  return [
    newDevice({
      id: 'zoe-haustuer',
      name: 'Haustür',
      power: 'battery',
      capabilities: {
        video: { codecs: ['AVC'], ratio: '4:3', max_resolution: 1080, supported_resolutions: [1080] },
        motion_detection: { configurations: ['enabled'] },
      },
      configurations: { motion_detection: { enabled: 'off', motion_zones: [] } },
      location,
    }),
    newDevice({ id: 'zoe-jardin', name: 'Jardín del otoño', configurations: null, location }),
  ];
}

function samsDevices(): Device[] {
  const location = { country: 'GB' };
  return [
    newDevice({
      id: 'sam-garage',
      name: 'Garage',
      capabilities: { motion_detection: { configurations: ['enabled', 'motion_zones'] } },
      configurations: { motion_detection: { enabled: 'on' } },
      location,
    }),
    newDevice({
      id: 'sam-porch',
      name: 'Porch',
      power: 'battery',
      capabilities: {
        video: { codecs: ['HEVC'], ratio: '1:1', max_resolution: 1536 },
        motion_detection: { configurations: ['enabled', 'motion_zones'] },
        image_enhancements: { configurations: ['hdr', 'snapshot', 'bird_feeder_mode'] },
      },
      configurations: { motion_detection: { enabled: 'on', motion_zones: ODD_ZONES } },
      location,
    }),
  ];
}

/** Sensors, which have no video, and a camera. */
function kimsDevices(): Device[] {
  return [
    newDevice({
      id: 'kim-back-door',
      name: 'Back Door',
      power: 'battery',
      capabilities: { contact_detection: SENSOR, tamper_detection: SENSOR },
      configurations: {},
    }),
    newDevice({
      id: 'kim-cellar',
      name: 'Cellar',
      power: 'battery',
      capabilities: { flood_detection: SENSOR, freeze_detection: SENSOR, tamper_detection: SENSOR },
      configurations: {},
    }),
    newDevice({ id: 'kim-yard', name: 'Yard' }),
  ];
}

/** Ring's pages don't show what a sensor's capability holds. */
const SENSOR = { configurations: [] };
