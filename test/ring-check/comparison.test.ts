import { describe, expect, test } from '@jest/globals';
import { DeviceAnswer, DevicesAnswer, DeviceStatusAnswer } from '../../src/ring/devices.js';
import { HistoryAnswer } from '../../src/ring/history.js';
import { SubscriptionsAnswer } from '../../src/ring/subscriptions.js';
import { compare } from '../../src/ring-check/comparison.js';
import { recordedAnswer } from '../support/worlds/recorded.js';

const DEVICES = recordedAnswer('devices');
const HISTORY = recordedAnswer('history-on-demand');

/** What is lost of the recorded devices when a part of their text is another. */
function lostOf(original: string | RegExp, changed: string, schema: Parameters<typeof compare>[0] = DevicesAnswer) {
  const text = schema === HistoryAnswer ? HISTORY : DEVICES;
  const altered = text.replace(original, changed);
  expect(altered).not.toBe(text);
  return [...compare(schema, JSON.parse(altered)).lost].sort();
}

describe('of the recorded answers', () => {
  test('nothing is lost, and what no schema looks at is told', () => {
    const { lost, unread } = compare(DevicesAnswer, JSON.parse(DEVICES));
    expect([...lost]).toEqual([]);
    expect([...unread].sort()).toEqual([
      'data[].attributes.image_url (string)',
      'data[].relationships.capabilities.links (object)',
      'data[].relationships.configurations.links (object)',
      'data[].relationships.location.links (object)',
      'data[].relationships.status.links (object)',
      'included[].attributes.audio (object)',
      'meta (object)',
    ]);
    expect([...compare(HistoryAnswer, JSON.parse(HISTORY)).lost]).toEqual([]);
  });

  test('the answer itself stays as it was', () => {
    const raw: unknown = JSON.parse(DEVICES);
    compare(DevicesAnswer, raw);
    expect(raw).toEqual(JSON.parse(DEVICES));
  });
});

describe('what a lenient schema leaves out is found', () => {
  test.each([
    [
      'a resolution in another form',
      '"max_resolution": 1080',
      '"max_resolution": {"lines": 1080}',
      ['included[].attributes.video.max_resolution (object)'],
    ],
    [
      'one resolution of a list',
      '[1080]',
      '[1080, true]',
      ['included[].attributes.video.supported_resolutions[] (boolean)'],
    ],
    [
      'a whole ability',
      /"image_enhancements": \{"configurations[^}]*\}/,
      '"image_enhancements": "yes"',
      ['included[].attributes.image_enhancements (string)'],
    ],
    // That a device has video is told by whatever stands there, so it is not lost; see `Capabilities`.
    ['a video in another form', /"video": \{[^}]*\}/, '"video": "yes"', []],
    ['a number in place of a name', '"Playground Device"', '77', ['data[].attributes.name (number)']],
    [
      'a setting that is neither on nor off',
      '"enabled": "on"',
      '"enabled": true',
      ['included[].attributes.motion_detection.enabled (boolean)'],
    ],
    ['a text in place of a state', '"online": true', '"online": "yes"', ['included[].attributes.online (string)']],
    ['a time that is none', '2026-09-15T12:45:03Z', 'yesterday', ['included[].attributes.reported_at (string)']],
    [
      'a device whose ID is missing',
      '"id": "ava1.ring.device.AAAA1111",',
      '',
      expect.arrayContaining(['data[].attributes.name (string)', 'data[].id (missing)']),
    ],
    [
      'a name that is missing',
      /"name": "Playground Device"/,
      '"label": "x"',
      ['data[].attributes (object)', 'data[].attributes.name (missing)'],
    ],
    [
      'a part that no device refers to',
      '"id": "ava1.ring.device.status.BBBB2222"}, "links"',
      '"id": "another"}, "links"',
      expect.arrayContaining(['data[].relationships.status.data.id (string)', 'included[].id (string)']),
    ],
  ])('%s', (_what, original, changed, lost) => {
    expect(lostOf(original, changed)).toEqual(lost);
  });

  test('an unknown kind of event, and a start that is missing', () => {
    expect(lostOf('"event_type": "on_demand"', '"event_type": "parcel"', HistoryAnswer)).toContain(
      'data[].attributes.event_type (string)',
    );
    const lost = lostOf('"start": 1789513622925, ', '', HistoryAnswer);
    expect(lost).toContain('data[].attributes.start (missing)');
    expect(lost).not.toContain('links (missing)');
  });
});

test('what the schema refuses is told with what stands there', () => {
  const online = { online: true };
  expect([...compare(DeviceStatusAnswer, { data: [online] }).lost]).toEqual(['data (array)']);
  expect([...compare(DeviceStatusAnswer, { data: { online } }).lost]).toEqual(['data.attributes (missing)']);
  expect([...compare(DeviceAnswer, 'text').lost]).toEqual(['the whole answer (string)']);
});

test('a value that equals what stands for a lost one is none', () => {
  const subscription = (attributes: object) => ({
    data: [{ type: 'subscriptions', id: 's', attributes: { sub_type: 'paid', plan_id: 'p', ...attributes } }],
  });
  const lost = (attributes: object) => [...compare(SubscriptionsAnswer, subscription(attributes)).lost];
  expect(lost({ status: 'inactive' })).toEqual([]);
  expect(lost({ status: 'paused' })).toEqual(['data[].attributes.status (string)']);
  expect(lost({ status: 'active', expires_at: 'soon' })).toEqual(['data[].attributes.expires_at (string)']);
});

test('a capability that is null is one that the device lacks; of one that it has nothing more is known', () => {
  const { lost, unread } = compare(
    DevicesAnswer,
    JSON.parse(DEVICES.replace('"flood_detection": null', '"flood_detection": {"configurations": []}')),
  );
  expect([...lost]).toEqual([]);
  expect(unread).toContain('included[].attributes.flood_detection.configurations (array)');
});

test('a key that may be somebody’s is not repeated', () => {
  const { unread } = compare(DeviceStatusAnswer, {
    data: { attributes: { 'ava1.ring.device.X9': 1, 'A. Person': {} } },
  });
  expect([...unread].sort()).toEqual(['data.attributes.* (number)', 'data.attributes.* (object)']);
});

test('a long list takes no square of its length', () => {
  const { data } = JSON.parse(HISTORY) as { data: object[] };
  const { lost } = compare(HistoryAnswer, { data: Array.from({ length: 3_000 }, () => structuredClone(data[0])) });
  expect([...lost]).toEqual([]);
});
