/**
 * The geometry of Ring's zones: polygons on a picture whose left top is (0, 0) and whose right bottom is (1, 1). Whatever
 * the corners are, there is an answer: polygons may cross themselves, touch themselves, or be no polygons at all.
 *
 * SVG's rule "nonzero" decides what is inside, so that the words and the drawing agree: everything that the outline goes
 * round belongs to the zone, the heart of a star too, and a part that it goes round twice is counted once.
 */

export interface Vertex {
  x: number;
  y: number;
}

export interface Shape {
  /** The share of the picture that it covers, 0 to 1; 0 when it is too thin to be seen. */
  share: number;
  /** Its centre of gravity; null when it covers nothing. */
  centre: Vertex | null;
  /** The extent that it reaches over, 0 to 1. */
  width: number;
  height: number;
}

export interface Frame {
  width: number;
  height: number;
}

const FRAME_WIDTH = 960;
const USUAL_FRAME: Frame = { width: FRAME_WIDTH, height: 540 };
/** No camera's picture is wider or higher than this; a frame beyond it would be a line. */
const WIDEST = 4;
const HIGHEST = 1 / 3;

/** Two pixels of a picture with two million. A zone that covers less covers nothing. */
const SMALLEST_SHARE = 1e-6;

/**
 * The number of strips in which a picture is measured at least. Each corner of a zone begins another, so that the edges
 * are straight within a strip. Only where two edges cross within one is the area not exact, by far less than a percent.
 */
const STRIPS = 64;

/** The frame for a ratio as Ring tells it, such as "16:9"; 16:9 for text that does not read as one. */
export function frameOf(ratio: string | undefined): Frame {
  const [, width, height] = /^\s*(\d{1,5}(?:\.\d{1,5})?)\s*[:x/]\s*(\d{1,5}(?:\.\d{1,5})?)\s*$/.exec(ratio ?? '') ?? [];
  const proportion = Number(width) / Number(height);
  if (!(proportion >= HIGHEST && proportion <= WIDEST)) return USUAL_FRAME;
  return { width: FRAME_WIDTH, height: Math.round(FRAME_WIDTH / proportion) };
}

/** A path for SVG, in the units of the frame; to be filled by the rule "nonzero". Null for fewer than three corners. */
export function pathOf(vertices: readonly Vertex[], frame: Frame): string | null {
  if (vertices.length < 3) return null;
  const points = vertices.map(({ x, y }) => `${hundredths(x * frame.width)} ${hundredths(y * frame.height)}`);
  return `M${points.join('L')}Z`;
}

export function measure(vertices: readonly Vertex[]): Shape {
  const left = Math.min(1, ...vertices.map(({ x }) => x));
  const right = Math.max(0, ...vertices.map(({ x }) => x));
  const sums = { area: 0, x: 0, y: 0 };
  const levels = levelsOf(vertices);
  levels.slice(1).forEach((bottom, index) => {
    const top = levels[index] ?? bottom;
    const y = (top + bottom) / 2;
    for (const { from, to } of stretchesAt(vertices, y)) {
      const area = (bottom - top) * (to - from);
      sums.area += area;
      sums.x += (area * (from + to)) / 2;
      sums.y += area * y;
    }
  });
  const covers = sums.area >= SMALLEST_SHARE;
  return {
    share: covers ? Math.min(1, sums.area) : 0,
    centre: covers ? { x: sums.x / sums.area, y: sums.y / sums.area } : null,
    width: Math.max(0, right - left),
    height: (levels.at(-1) ?? 0) - (levels[0] ?? 0),
  };
}

/** Points well inside a zone, where its name can stand; the best first. None for a zone that covers nothing. */
export function pointsInside(vertices: readonly Vertex[], { centre, height } = measure(vertices)): Vertex[] {
  if (centre === null) return [];
  const top = Math.min(...vertices.map(({ y }) => y));
  const levels = [centre.y, ...[4, 2, 6, 3, 5, 1, 7].map((eighths) => top + (height * eighths) / 8)];
  return levels.flatMap((y) => {
    const [widest] = stretchesAt(vertices, y).sort((one, other) => other.to - other.from - (one.to - one.from));
    return widest === undefined ? [] : [{ x: (widest.from + widest.to) / 2, y }];
  });
}

/** A zone in words, to be read after its name: "covers the lower left, about 18 % of the picture". */
export function wordsOfShape(
  vertices: readonly Vertex[],
  { share, centre, width, height } = measure(vertices),
): string {
  if (centre === null) return wordsOfNothing(vertices);
  if (share >= 0.995) return 'covers the whole picture';
  const percent = share < 0.01 ? 'less than 1 %' : `about ${Math.round(share * 100)} %`;
  const column = placeOn(centre.x, width);
  const row = placeOn(centre.y, height);
  if (column === 'all' && row === 'all') {
    if (share >= 0.9) return `covers almost the whole picture, ${percent} of it`;
    if (share >= 0.5) return `covers most of the picture, ${percent} of it`;
    return `reaches across the whole picture and covers ${percent} of it`;
  }
  const part = share < 0.05 ? 'a small part of ' : '';
  return `covers ${part}${PLACES[row][column]}, ${percent} of the picture`;
}

function wordsOfNothing(vertices: readonly Vertex[]): string {
  if (vertices.length === 0) return 'has no corners, so it covers nothing';
  const isPoint = new Set(vertices.map(({ x, y }) => `${x} ${y}`)).size === 1;
  return isPoint ? 'is a single point, so it covers nothing' : 'is no more than a line, so it covers nothing';
}

/** The place of something from left to right, or from top to bottom. */
type Place = 'start' | 'middle' | 'end' | 'all';

function placeOn(centre: number, extent: number): Place {
  if (centre < 0.4) return 'start';
  if (centre > 0.6) return 'end';
  return extent >= 0.6 ? 'all' : 'middle';
}

const PLACES: Readonly<Record<Place, Readonly<Record<Place, string>>>> = {
  start: { start: 'the upper left', middle: 'the upper middle', end: 'the upper right', all: 'the upper part' },
  middle: {
    start: 'the left, at mid-height',
    middle: 'the middle',
    end: 'the right, at mid-height',
    all: 'the middle from side to side',
  },
  end: { start: 'the lower left', middle: 'the lower middle', end: 'the lower right', all: 'the lower part' },
  all: { start: 'the left side', middle: 'the middle from top to bottom', end: 'the right side', all: 'the picture' },
};

/** From the top of a zone to its bottom: where strips begin and end. */
function levelsOf(vertices: readonly Vertex[]): number[] {
  const corners = vertices.map(({ y }) => y);
  const top = Math.min(...corners);
  const bottom = Math.max(...corners);
  const even = Array.from({ length: STRIPS + 1 }, (_, index) => index / STRIPS);
  const levels = [...corners, ...even.filter((y) => y > top && y < bottom)];
  return [...new Set(levels)].sort((one, other) => one - other);
}

interface Stretch {
  from: number;
  to: number;
}

/** The stretches of a level line across the picture that are inside, by the rule "nonzero". */
function stretchesAt(vertices: readonly Vertex[], y: number): Stretch[] {
  const crossings = vertices.flatMap((start, index) => {
    const end = vertices[(index + 1) % vertices.length] ?? start;
    if (start.y <= y === end.y <= y) return [];
    const x = start.x + ((y - start.y) / (end.y - start.y)) * (end.x - start.x);
    return [{ x, turn: end.y > start.y ? 1 : -1 }];
  });
  crossings.sort((one, other) => one.x - other.x);
  const stretches: Stretch[] = [];
  let winding = 0;
  let from = 0;
  for (const { x, turn } of crossings) {
    if (winding === 0) from = x;
    winding += turn;
    if (winding === 0) stretches.push({ from, to: x });
  }
  return stretches;
}

const hundredths = (value: number): number => Math.round(value * 100) / 100;
