import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { wordsOfShape, frameOf, measure, pathOf, pointsInside, type Vertex } from '../../src/devices/zones.js';
import { sharing } from '../support/features/devices.js';
import { startWorld, type World } from '../support/worlds/world.js';

type Corner = [x: number, y: number];

const polygon = (...corners: Corner[]): Vertex[] => corners.map(([x, y]) => ({ x, y }));
const rectangle = (left: number, top: number, right: number, bottom: number): Vertex[] =>
  polygon([left, top], [right, top], [right, bottom], [left, bottom]);

const EVERYTHING = rectangle(0, 0, 1, 1);
const LOWER_LEFT = rectangle(0, 0.4, 0.3, 1);
const BOW_TIE = polygon([0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]);
/** Five points at 0.4 from the middle, joined with the next but one. */
const STAR = polygon(
  ...[0, 2, 4, 1, 3].map((point): Corner => [
    0.5 + 0.4 * Math.sin((point * 2 * Math.PI) / 5),
    0.5 - 0.4 * Math.cos((point * 2 * Math.PI) / 5),
  ]),
);
const FRAME = { width: 960, height: 540 };

describe('the area of a zone', () => {
  test.each<[what: string, vertices: Vertex[], share: number]>([
    ['of everything is everything', EVERYTHING, 1],
    ['of a rectangle is its width times its height', LOWER_LEFT, 0.18],
    ['is the same the other way round', LOWER_LEFT.toReversed(), 0.18],
    ['of a triangle is half of base times height', polygon([0.25, 0.75], [0.75, 0.75], [0.6, 0.13]), 0.155],
    ['of an angle is that of its two parts', polygon([0, 0], [0.2, 0], [0.2, 0.7], [1, 0.7], [1, 1], [0, 1]), 0.44],
    ['of a bow-tie is that of its two triangles', BOW_TIE, 0.32],
    // A star has ten triangles between the middle, a point at 0.4 and a notch at 0.4 · cos 72° / cos 36°. Its middle
    // belongs to it.
    ['of a star is that within its outline', STAR, 0.1796],
    ['that the outline goes round twice counts once', [...LOWER_LEFT, ...LOWER_LEFT], 0.18],
    ['does not change with corners said twice', LOWER_LEFT.flatMap((corner) => [corner, corner, corner]), 0.18],
    [
      'of a ring is without its hole',
      polygon(
        [0, 0],
        [1, 0],
        [1, 1],
        [0, 1],
        [0, 0],
        [0.25, 0.25],
        [0.25, 0.75],
        [0.75, 0.75],
        [0.75, 0.25],
        [0.25, 0.25],
      ),
      0.75,
    ],
    ['of an upright sliver is small', rectangle(0.5001, 0, 0.5003, 1), 0.0002],
    ['of a lying sliver is as small', rectangle(0, 0.5001, 1, 0.5003), 0.0002],
    ['of a slanting sliver is as small', polygon([0, 0], [1, 0.9996], [1, 1]), 0.0002],
    ['of nothing is nothing', [], 0],
    ['of one corner is nothing', polygon([0.5, 0.5]), 0],
    ['of two corners is nothing', polygon([0, 0], [1, 1]), 0],
    ['of equal corners is nothing', polygon([0.3, 0.3], [0.3, 0.3], [0.3, 0.3], [0.3, 0.3]), 0],
    ['of corners on a line is nothing', polygon([0, 0], [0.1, 0.1], [0.7, 0.7], [0.3, 0.3]), 0],
    ['of an outline that turns back on itself is nothing', polygon([0, 0], [1, 0.3], [0, 0], [1, 0.3]), 0],
  ])('%s', (_what, vertices, share) => {
    expect(measure(vertices).share).toBeCloseTo(share, 4);
  });

  test('is, for any outline, what a count of points says', () => {
    fc.assert(
      fc.property(fc.array(anyVertex(), { minLength: 3, maxLength: 9 }), (vertices) => {
        expect(Math.abs(measure(vertices).share - shareOfPoints(vertices))).toBeLessThan(0.03);
      }),
      { numRuns: 100 },
    );
  });
});

/** All sentences about a zone. Each goes on from the zone's name. */
const WORDS = new RegExp(
  [
    'covers the whole picture',
    'covers almost the whole picture, about \\d+ % of it',
    'covers most of the picture, about \\d+ % of it',
    'reaches across the whole picture and covers (about \\d+|less than 1) % of it',
    'covers (a small part of )?the (upper|lower) (left|middle|right|part), (about \\d+|less than 1) % of the picture',
    'covers (a small part of )?the (left|right), at mid-height, (about \\d+|less than 1) % of the picture',
    'covers (a small part of )?the (left|right) side, (about \\d+|less than 1) % of the picture',
    'covers (a small part of )?the middle( from (side to side|top to bottom))?, (about \\d+|less than 1) % of the picture',
    '(has no corners|is a single point|is no more than a line), so it covers nothing',
  ]
    .map((sentence) => `^${sentence}$`)
    .join('|'),
);

test('whatever the corners are, there are finite numbers, words and a path', () => {
  fc.assert(
    fc.property(fc.array(anyVertex(), { maxLength: 40 }), anyRatio(), (vertices, ratio) => {
      const frame = frameOf(ratio);
      const { share, centre } = measure(vertices);
      const points = [...pointsInside(vertices), ...(centre === null ? [] : [centre])];
      expect(share).toBeGreaterThanOrEqual(0);
      expect(share).toBeLessThanOrEqual(1);
      expect(centre === null).toBe(share === 0);
      expect(pointsInside(vertices).length > 0).toBe(share > 0);
      for (const { x, y } of points) {
        expect(x).toBeGreaterThanOrEqual(-1e-9);
        expect(x).toBeLessThanOrEqual(1 + 1e-9);
        expect(y).toBeGreaterThanOrEqual(0);
        expect(y).toBeLessThanOrEqual(1);
      }
      expect(wordsOfShape(vertices)).toMatch(WORDS);
      const path = pathOf(vertices, frame);
      if (vertices.length < 3) expect(path).toBeNull();
      else expect(path).toMatch(/^M\d+(\.\d\d?)? \d+(\.\d\d?)?(L\d+(\.\d\d?)? \d+(\.\d\d?)?){2,}Z$/);
      for (const number of path?.match(/[\d.]+/g) ?? []) {
        expect(Number(number)).toBeLessThanOrEqual(Math.max(frame.width, frame.height));
      }
    }),
    { numRuns: 500 },
  );
});

test.each<[words: string, vertices: Vertex[]]>([
  ['covers the lower left, about 18 % of the picture', LOWER_LEFT],
  ['covers the upper right, about 12 % of the picture', rectangle(0.7, 0, 1, 0.4)],
  ['covers the upper left, about 25 % of the picture', rectangle(0, 0, 0.5, 0.5)],
  ['covers the lower part, about 75 % of the picture', rectangle(0, 0.25, 1, 1)],
  ['covers the left side, about 30 % of the picture', rectangle(0, 0, 0.3, 1)],
  ['covers the right, at mid-height, about 6 % of the picture', rectangle(0.8, 0.35, 1, 0.65)],
  ['covers the middle, about 16 % of the picture', rectangle(0.3, 0.3, 0.7, 0.7)],
  ['covers the middle from side to side, about 20 % of the picture', rectangle(0, 0.4, 1, 0.6)],
  ['covers a small part of the lower middle, about 2 % of the picture', rectangle(0.4, 0.8, 0.6, 0.9)],
  ['covers a small part of the left side, less than 1 % of the picture', rectangle(0, 0, 0.002, 1)],
  ['covers the whole picture', EVERYTHING],
  ['covers the whole picture', EVERYTHING.toReversed()],
  ['covers almost the whole picture, about 96 % of it', rectangle(0.02, 0, 0.98, 1)],
  ['covers most of the picture, about 64 % of it', rectangle(0.1, 0.1, 0.9, 0.9)],
  ['reaches across the whole picture and covers about 32 % of it', BOW_TIE],
  ['has no corners, so it covers nothing', []],
  ['is a single point, so it covers nothing', polygon([1, 1])],
  ['is a single point, so it covers nothing', polygon([0.2, 0.2], [0.2, 0.2], [0.2, 0.2])],
  ['is no more than a line, so it covers nothing', polygon([0, 0], [0, 1])],
  ['is no more than a line, so it covers nothing', polygon([0, 0], [0.5, 0.5], [1, 1])],
])('a zone %s', (words, vertices) => {
  expect(wordsOfShape(vertices)).toBe(words);
});

test('a name stands inside its zone, also where its middle does not', () => {
  const horseshoe = polygon([0, 0], [0.2, 0], [0.2, 0.8], [0.8, 0.8], [0.8, 0], [1, 0], [1, 1], [0, 1]);
  expect(isInside(horseshoe, measure(horseshoe).centre ?? { x: -1, y: -1 })).toBe(false);
  for (const zone of [horseshoe, BOW_TIE, STAR, LOWER_LEFT]) {
    const points = pointsInside(zone);
    expect(points.length).toBeGreaterThan(1);
    for (const point of points) expect(isInside(zone, point)).toBe(true);
  }
});

test('a zone is drawn to scale, whole numbers and decimals alike', () => {
  expect(pathOf(polygon([0, 1], [0.5, 0.25], [1, 1]), FRAME)).toBe('M0 540L480 135L960 540Z');
  expect(pathOf(polygon([0, 1], [1 / 3, 1e-9], [1, 1]), FRAME)).toBe('M0 540L320 0L960 540Z');
});

test.each<[ratio: string | undefined, height: number]>([
  ['16:9', 540],
  ['4:3', 720],
  ['1:1', 960],
  [' 3 : 4 ', 1280],
  ['1.85:1', 519],
  [undefined, 540],
  ['', 540],
  ['16:0', 540],
  ['0:0', 540],
  ['1:1000', 540],
  ['99999:1', 540],
  ['-4:3', 540],
  ['"><img src=x onerror=alert(1)>', 540],
])('the frame of %j is 960 wide and %d high', (ratio, height) => {
  expect(frameOf(ratio)).toEqual({ width: 960, height });
});

describe('the page of a device', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  const zone = (vertices: Vertex[], id = 'a-zone') => ({ id, vertices });

  /** The section of the page about zones, if there is one. */
  async function zonesOn(configurations: object | null, capabilities: object | null = null): Promise<string> {
    const { visitor, path } = await sharing(world, { configurations, capabilities });
    const { status, text } = await visitor.open(path);
    expect(status).toBe(200);
    return /<section aria-labelledby="zones">[\s\S]*?<\/section>/.exec(text)?.[0] ?? '';
  }

  const entriesOf = (section: string) => [...section.matchAll(/<p>([^<]*)<\/p>/g)].map(([, words]) => words);
  const drawnOf = (section: string) =>
    [...section.matchAll(/<path class="zone (\w+)"[^>]* d="([^"]*)"/g)].map(([, kind, path]) => [kind, path]);

  test('draws motion and privacy zones, names them and says where they are', async () => {
    const section = await zonesOn({
      motion_detection: { enabled: 'on', motion_zones: [zone(EVERYTHING), zone(LOWER_LEFT)] },
      image_enhancements: { privacy_zones: [zone(rectangle(0.75, 0, 1, 0.4))] },
    });

    expect(section).toContain('<h2 id="zones">Zones</h2>');
    expect(section).toMatch(/<svg viewBox="0 0 960 540" role="img" aria-labelledby="zones-title zones-desc">\s*<title/);
    expect(drawnOf(section)).toEqual([
      ['motion', 'M0 0L960 0L960 540L0 540Z'],
      ['motion', 'M0 216L288 216L288 540L0 540Z'],
      ['privacy', 'M720 0L960 0L960 216L720 216Z'],
    ]);
    expect(section.match(/fill-rule="nonzero"/g)).toHaveLength(4);
    expect(entriesOf(section)).toEqual([
      'Motion zone 1 covers the whole picture.',
      'Motion zone 2 covers the lower left, about 18 % of the picture.',
      'Privacy zone 1 covers the upper right, about 10 % of the picture.',
    ]);
    const [names = ''] = /<svg class="zone-names"[\s\S]*?<\/figure>/.exec(section) ?? [];
    expect([...names.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, name]) => name)).toEqual(['1', '2', 'P1']);
    expect(section).toContain('only come from motion inside a motion zone');
  });

  test('has the shape of the device’s picture', async () => {
    const section = await zonesOn(
      { motion_detection: { motion_zones: [zone(EVERYTHING)] } },
      { video: { ratio: '4:3' } },
    );
    expect(section).toContain('viewBox="0 0 960 720"');
  });

  test('describes zones that cover nothing without drawing them, and draws those that cross themselves', async () => {
    const line = polygon([0, 0], [0.5, 0.5], [1, 1]);
    const motion_zones = [[], polygon([0, 1]), line, BOW_TIE].map((vertices) => zone(vertices));

    const section = await zonesOn({ motion_detection: { motion_zones } });

    expect(drawnOf(section)).toEqual([['motion', 'M96 54L864 486L864 54L96 486Z']]);
    expect(entriesOf(section)).toEqual([
      'Motion zone 1 has no corners, so it covers nothing.',
      'Motion zone 2 is a single point, so it covers nothing.',
      'Motion zone 3 is no more than a line, so it covers nothing.',
      'Motion zone 4 reaches across the whole picture and covers about 32 % of it.',
    ]);
  });

  test('draws nothing when no zone covers anything', async () => {
    const section = await zonesOn({ motion_detection: { motion_zones: [zone(polygon([0, 0], [1, 1]))] } });
    expect(entriesOf(section)).toHaveLength(1);
    expect(section).not.toContain('<figure');
  });

  test.each<[what: string, configurations: object | null, capabilities: object | null]>([
    ['no zones are drawn', { motion_detection: { enabled: 'on', motion_zones: [] } }, null],
    ['Ring tells of no zones', { motion_detection: { enabled: 'on' } }, null],
    ['motion detection is all that is known', null, { motion_detection: { configurations: ['enabled'] } }],
    ['zones are no list', { motion_detection: { motion_zones: 'everywhere' } }, null],
  ])('says what that means when %s', async (_what, configurations, capabilities) => {
    const section = await zonesOn(configurations, capabilities);
    expect(section).toContain('Ring tells us of no motion zones for this device.');
    expect(section).not.toMatch(/<figure|<ul/);
  });

  test('says that motion detection is off', async () => {
    const section = await zonesOn({ motion_detection: { enabled: 'off', motion_zones: [zone(LOWER_LEFT)] } });
    expect(section).toContain('Motion detection is off in the Ring app');
  });

  test('knows a device with privacy zones alone', async () => {
    const section = await zonesOn({ image_enhancements: { privacy_zones: [zone(LOWER_LEFT)] } });
    expect(entriesOf(section)).toEqual(['Privacy zone 1 covers the lower left, about 18 % of the picture.']);
    expect(section).toContain('blacked out');
    expect(section).not.toContain('otion');
  });

  test.each<[what: string, configurations: object | null, capabilities: object | null]>([
    ['Ring tells nothing', null, null],
    ['Ring tells next to nothing', {}, {}],
    ['there is no motion detection', { image_enhancements: { hdr: 'on', privacy_zones: [] } }, { video: {} }],
  ])('has no section about zones when %s', async (_what, configurations, capabilities) => {
    expect(await zonesOn(configurations, capabilities)).toBe('');
  });

  test('stays small however many zones with however many corners Ring tells of', async () => {
    const corner = (n: number) => ({ x: (n * 0.618_033_988_7) % 1, y: (n * 0.754_877_666_2) % 1 });
    const zones = () =>
      Array.from({ length: 100 }, () => ({
        id: randomUUID(),
        vertices: Array.from({ length: 200 }, (_, index) => corner(index)),
      }));
    const { visitor, path } = await sharing(world, {
      configurations: {
        motion_detection: { enabled: 'on', motion_zones: zones() },
        image_enhancements: { privacy_zones: zones() },
      },
    });

    const { status, text } = await visitor.open(path);

    expect(status).toBe(200);
    expect(text).toContain('Zones');
    expect(Buffer.byteLength(text)).toBeLessThan(60_000);
  });

  test('shows nothing of a hostile zone but its shape', async () => {
    const hostile = '"><img src=x onerror=alert(1)>';
    const { visitor, path } = await sharing(world, {
      name: `Door ${hostile}`,
      configurations: { motion_detection: { motion_zones: [zone(LOWER_LEFT, hostile)] } },
      capabilities: { video: { ratio: '1:1"><img>' } },
    });
    const { text } = await visitor.open(path);
    expect(text).toContain('viewBox="0 0 960 540"');
    expect(text).toContain('The zones in the picture of Door &#34;&gt;&lt;img src=x onerror=alert(1)&gt;');
    expect(text).not.toContain('<img');
  });
});

function anyVertex(): fc.Arbitrary<Vertex> {
  // Few values besides, so that corners meet and edges lie on each other.
  const number = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, -0, 0.25, 0.5, 1, 5e-324));
  return fc.record({ x: number, y: number });
}

function anyRatio(): fc.Arbitrary<string | undefined> {
  const number = fc.nat({ max: 100_000 });
  return fc.oneof(
    fc.constant(undefined),
    fc.string(),
    fc.tuple(number, number).map(([width, height]) => `${width}:${height}`),
  );
}

/** The share of a grid of points that are inside. */
function shareOfPoints(vertices: Vertex[]): number {
  const size = 120;
  const points = Array.from({ length: size * size }, (_, index) => ({
    x: ((index % size) + 0.5) / size,
    y: (Math.floor(index / size) + 0.5) / size,
  }));
  return points.filter((point) => isInside(vertices, point)).length / points.length;
}

// Under jest a global is slow to look up, and these are used millions of times.
const { abs, atan2, PI, round } = Math;

/** True if the outline, seen from the point, goes round it: the sum of the angles between its corners is not zero. */
function isInside(vertices: Vertex[], { x, y }: Vertex): boolean {
  const angles = vertices.map((corner) => atan2(corner.y - y, corner.x - x));
  const sum = angles.reduce((total, angle, index) => {
    const turn = (angles[(index + 1) % angles.length] ?? angle) - angle;
    return total + turn - 2 * PI * round(turn / (2 * PI));
  }, 0);
  return abs(sum) > PI;
}
