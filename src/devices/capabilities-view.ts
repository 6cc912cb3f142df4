import type { Capabilities, Configurations } from '../ring/devices.js';

/** One thing that a device can do, or how it is set up: for reading, never for changing. */
export interface CapabilityView {
  name: string;
  value: string;
}

type Enhancements = NonNullable<Configurations['image_enhancements']>;
type Enhancement = Exclude<keyof Enhancements, 'privacy_zones'>;

const ENHANCEMENTS: Readonly<Record<Enhancement, string>> = {
  color_night_vision: 'Colour night vision',
  ir_led_night_vision: 'Infrared night vision',
  hdr: 'HDR (detail in bright and dark parts)',
  auto_zoom_track: 'Zooming in on what moves',
  snapshot: 'Still pictures',
};

/** Ring's words for what can be set up in its app. How it is set up stands elsewhere, so they are not shown. */
const SETTINGS = { video: ['resolution', 'resolution_mode'], motion: ['enabled', 'motion_zones'] };

/** Heights by which people know pictures of 16:9. */
const KNOWN_HEIGHTS = ['360', '480', '540', '720', '1080', '1440', '2160'];

const OR = new Intl.ListFormat('en', { type: 'disjunction' });
const AND = new Intl.ListFormat('en', { type: 'conjunction' });

/** Facts that Ring tells of a device, in words for people. A fact that Ring does not tell does not appear. */
export function capabilitiesView(
  capabilities: Capabilities | null,
  configurations: Configurations | null,
): CapabilityView[] {
  return [
    ...videoFacts(capabilities?.video),
    ...motionFacts(capabilities?.motion_detection, configurations?.motion_detection),
    ...enhancementFacts(capabilities?.image_enhancements, configurations?.image_enhancements),
    ...fact('Also named by Ring', AND.format(unknownWords(capabilities))),
  ];
}

function videoFacts(video: Capabilities['video']): CapabilityView[] {
  if (video === undefined) return [];
  const best = wordsOfResolution(video.max_resolution ?? '');
  const all = distinct(video.supported_resolutions?.map(wordsOfResolution));
  const codecs = distinct(video.codecs);
  return [
    ...fact('Video', best === '' ? OR.format(all) : `Up to ${best}`),
    ...(best === '' ? [] : fact('Other video sizes', AND.format(all.filter((one) => one !== best)))),
    ...fact('Video formats', OR.format(codecs)),
    ...fact('Picture shape', video.ratio?.trim()),
  ];
}

function motionFacts(can: Capabilities['motion_detection'], is: Configurations['motion_detection']): CapabilityView[] {
  if (can === undefined && is === undefined) return [];
  return [
    { name: 'Motion detection', value: wordsOfState(is?.enabled) },
    ...zoneCountFacts('Motion zones', can?.configurations?.includes('motion_zones'), is?.motion_zones),
  ];
}

function enhancementFacts(can: Capabilities['image_enhancements'], is: Enhancements | undefined): CapabilityView[] {
  const words = Object.keys(ENHANCEMENTS) as Enhancement[];
  return [
    ...words
      .filter((word) => can?.configurations?.includes(word) === true || is?.[word] !== undefined)
      .map((word) => ({ name: ENHANCEMENTS[word], value: wordsOfState(is?.[word]) })),
    ...zoneCountFacts('Privacy zones', can?.configurations?.includes('privacy_zones'), is?.privacy_zones),
  ];
}

function zoneCountFacts(name: string, isPossible = false, zones?: readonly unknown[]): CapabilityView[] {
  if (zones === undefined) return isPossible ? [{ name, value: 'Available' }] : [];
  return [{ name, value: zones.length === 0 ? 'None set up' : String(zones.length) }];
}

/** Words that we do not know are shown as Ring told them: a person may know more than we do. */
function unknownWords(capabilities: Capabilities | null): string[] {
  const without = (words: readonly string[] | undefined, known: readonly string[]) =>
    distinct(words).filter((word) => !known.includes(word));
  return distinct([
    ...without(capabilities?.video?.configurations, SETTINGS.video),
    ...without(capabilities?.motion_detection?.configurations, SETTINGS.motion),
    ...without(capabilities?.image_enhancements?.configurations, [...Object.keys(ENHANCEMENTS), 'privacy_zones']),
  ]);
}

/** "1920x1080" as people say it; other text as it is. */
function wordsOfResolution(text: string): string {
  const [, width, height = ''] = /^(\d{2,5})\s*[x×]\s*(\d{2,5})$/i.exec(text.trim()) ?? [];
  if (width === undefined) return text.trim();
  const isWide = Math.abs(Number(width) / Number(height) - 16 / 9) < 0.01;
  return isWide && KNOWN_HEIGHTS.includes(height) ? `${height}p` : `${width} × ${height} pixels`;
}

function wordsOfState(state: 'on' | 'off' | undefined): string {
  switch (state) {
    case 'on':
      return 'On';
    case 'off':
      return 'Off';
    case undefined:
      return 'Available';
  }
}

/** A list of one fact, or an empty one when there is nothing to say. */
function fact(name: string, value: string | undefined): CapabilityView[] {
  return value === undefined || value === '' ? [] : [{ name, value }];
}

const distinct = (words: readonly string[] = []): string[] => [
  ...new Set(words.map((word) => word.trim()).filter((word) => word !== '')),
];
