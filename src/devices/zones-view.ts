import type { Capabilities, Configurations } from '../ring/devices.js';
import { wordsOfShape, type Frame, frameOf, measure, pathOf, pointsInside, type Shape, type Vertex } from './zones.js';

/** Motion is only reported from inside a motion zone; a privacy zone is black in every picture. */
export type ZoneKind = 'motion' | 'privacy';

/** The zones of a device, as its page draws and describes them. */
export interface ZonesView {
  frame: Frame;
  /** Zones that cover anything, in the order in which they are painted. */
  shapes: { kind: ZoneKind; path: string }[];
  /** `x` and `y` in percent of the frame, so that the names keep their size whatever the frame's is. */
  labels: { kind: ZoneKind; name: string; x: string; y: string }[];
  /** Every zone in words, those too that can't be drawn. */
  items: { kind: ZoneKind; name: string; text: string }[];
  /** Sentences on what zones mean, and how they are changed. */
  notes: string[];
}

interface NamedZone {
  kind: ZoneKind;
  /** Short, for the drawing. */
  name: string;
  words: string;
  vertices: readonly Vertex[];
  shape: Shape;
}

/** Half a name's width as a share of the narrowest frame's, with some air; and the least distance of two names. */
const LABEL_MARGIN = 0.06;
const LABEL_DISTANCE = 0.11;

/** Null when there is nothing to say: no zones, and no motion detection that could have some. */
export function zonesView(capabilities: Capabilities | null, configurations: Configurations | null): ZonesView | null {
  const motion = configurations?.motion_detection;
  const zones: NamedZone[] = [
    ...(motion?.motion_zones ?? []).map(({ vertices }, index) => ({
      kind: 'motion' as const,
      name: String(index + 1),
      words: `Motion zone ${index + 1}`,
      vertices,
      shape: measure(vertices),
    })),
    ...(configurations?.image_enhancements?.privacy_zones ?? []).map(({ vertices }, index) => ({
      kind: 'privacy' as const,
      name: `P${index + 1}`,
      words: `Privacy zone ${index + 1}`,
      vertices,
      shape: measure(vertices),
    })),
  ];
  const detectsMotion = motion !== undefined || capabilities?.motion_detection !== undefined;
  if (zones.length === 0 && !detectsMotion) return null;
  const frame = frameOf(capabilities?.video?.ratio);
  return {
    frame,
    ...draw(zones, frame),
    items: zones.map(({ kind, name, words, vertices, shape }) => ({
      kind,
      name,
      text: `${words} ${wordsOfShape(vertices, shape)}.`,
    })),
    notes: notesOn(zones, detectsMotion, motion?.enabled === 'off'),
  };
}

const MOTION_RULE = 'Motion events only come from motion inside a motion zone';

function notesOn(zones: readonly NamedZone[], detectsMotion: boolean, isMotionOff: boolean): string[] {
  const has = (kind: ZoneKind) => zones.some((zone) => zone.kind === kind);
  return [
    ...(has('motion') ? [`${MOTION_RULE}.`] : []),
    ...(isMotionOff ? ['Motion detection is off in the Ring app, so no motion events come at the moment.'] : []),
    ...(has('privacy') ? ['What lies in a privacy zone is blacked out in the picture.'] : []),
    detectsMotion && !has('motion')
      ? `Ring tells us of no motion zones for this device. ${MOTION_RULE}: to draw one, open the Ring app.`
      : 'To change zones, open the Ring app.',
  ];
}

function draw(zones: readonly NamedZone[], frame: Frame): Pick<ZonesView, 'shapes' | 'labels'> {
  const shapes: ZonesView['shapes'] = [];
  const labels: (Pick<NamedZone, 'kind' | 'name'> & { at: Vertex })[] = [];
  for (const { kind, name, vertices, shape } of zones) {
    const path = pathOf(vertices, frame);
    const at = placeLabel(pointsInside(vertices, shape), labels, frame);
    if (path === null || at === undefined) continue;
    shapes.push({ kind, path });
    labels.push({ kind, name, at });
  }
  return { shapes, labels: labels.map(({ kind, name, at }) => ({ kind, name, x: percent(at.x), y: percent(at.y) })) };
}

/** The first point that keeps away from the names that stand already, or else the one that is farthest from them. */
function placeLabel(
  points: readonly Vertex[],
  others: readonly { at: Vertex }[],
  { width, height }: Frame,
): Vertex | undefined {
  const distance = ({ x, y }: Vertex) =>
    Math.min(...others.map(({ at }) => Math.hypot(x - at.x, ((y - at.y) * height) / width)));
  const inside = points.map(({ x, y }) => ({
    x: between(LABEL_MARGIN, x, 1 - LABEL_MARGIN),
    y: between((LABEL_MARGIN * width) / height, y, 1 - (LABEL_MARGIN * width) / height),
  }));
  return (
    inside.find((point) => distance(point) >= LABEL_DISTANCE) ??
    inside.toSorted((one, other) => distance(other) - distance(one))[0]
  );
}

const between = (least: number, value: number, most: number): number => Math.min(Math.max(least, value), most);

const percent = (share: number): string => `${(share * 100).toFixed(2)}%`;
