import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sharing } from '../support/features/devices.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

/** The section of the device's page about its capabilities, if there is one. */
async function sectionOf(capabilities: object | null, configurations: object | null = null): Promise<string> {
  const { visitor, path } = await sharing(world, { capabilities, configurations });
  const { status, text } = await visitor.open(path);
  expect(status).toBe(200);
  return sectionIn(text);
}

const sectionIn = (page: string): string =>
  /<section aria-labelledby="capabilities">[\s\S]*?<\/section>/.exec(page)?.[0] ?? '';

/** The facts in the section, in their order on the page. */
const factsIn = (section: string) =>
  [...section.matchAll(/<dt>([^<]*)<\/dt>\s*<dd>([^<]*)<\/dd>/g)].map(([, name, value]) => [name, value]);

describe('the capabilities of a device', () => {
  test('is told in words for people', async () => {
    const zone = { id: 'a', vertices: [] };
    const section = await sectionOf(
      {
        video: {
          codecs: ['HEVC', 'AVC'],
          ratio: '16:9',
          max_resolution: '1920x1080',
          supported_resolutions: ['640x360', '1280x720', '1920x1080'],
          configurations: ['resolution'],
        },
        motion_detection: { configurations: ['enabled', 'motion_zones'] },
        image_enhancements: {
          configurations: ['color_night_vision', 'hdr', 'ir_led_night_vision', 'auto_zoom_track', 'privacy_zones'],
        },
      },
      {
        motion_detection: { enabled: 'on', motion_zones: [zone, zone] },
        image_enhancements: { color_night_vision: 'off', ir_led_night_vision: 'on', privacy_zones: [] },
      },
    );

    expect(factsIn(section)).toEqual([
      ['Video', 'Up to 1080p'],
      ['Other video sizes', '360p and 720p'],
      ['Video formats', 'HEVC or AVC'],
      ['Picture shape', '16:9'],
      ['Motion detection', 'On'],
      ['Motion zones', '2'],
      ['Colour night vision', 'Off'],
      ['Infrared night vision', 'On'],
      ['HDR (detail in bright and dark parts)', 'Available'],
      ['Zooming in on what moves', 'Available'],
      ['Privacy zones', 'None set up'],
    ]);
  });

  test('is for reading: nothing can be pressed, and a line says where settings are changed', async () => {
    const section = await sectionOf({ motion_detection: {} }, { motion_detection: { enabled: 'on' } });
    expect(section).toContain('To change a setting, open the Ring app.');
    expect(section).not.toMatch(/<(a|button|form|input|select|details)\b|role="switch"|aria-(checked|pressed)/);
  });

  test.each<[what: string, capabilities: object | null, configurations: object | null, facts: string[][]]>([
    [
      'no largest video',
      { video: { supported_resolutions: ['1280x720', '640x360'] } },
      null,
      [['Video', '720p or 360p']],
    ],
    [
      'a video of another shape',
      { video: { max_resolution: '1440x1080' } },
      null,
      [['Video', 'Up to 1440 × 1080 pixels']],
    ],
    ['a video of few words', { video: { max_resolution: '4K' } }, null, [['Video', 'Up to 4K']]],
    ['one codec, said twice', { video: { codecs: ['AVC', 'AVC', ' '] } }, null, [['Video formats', 'AVC']]],
    ['motion detection alone', { motion_detection: {} }, null, [['Motion detection', 'Available']]],
    [
      'how it is set up alone',
      null,
      { image_enhancements: { hdr: 'on' } },
      [['HDR (detail in bright and dark parts)', 'On']],
    ],
    ['a state that is no state', null, { motion_detection: { enabled: 'maybe' } }, [['Motion detection', 'Available']]],
    [
      'a part of another shape',
      { video: 'yes', motion_detection: { configurations: 7 } },
      null,
      [['Motion detection', 'Available']],
    ],
    [
      'unknown words',
      {
        video: { configurations: ['resolution', 'frame_rate'] },
        image_enhancements: { configurations: ['bird_mode', 'frame_rate'] },
      },
      null,
      [['Also named by Ring', 'frame_rate and bird_mode']],
    ],
  ])('is told as far as Ring tells it: %s', async (_what, capabilities, configurations, facts) => {
    expect(factsIn(await sectionOf(capabilities, configurations))).toEqual(facts);
  });

  test.each<[capabilities: object | null, configurations: object | null]>([
    [null, null],
    [{}, {}],
    [{ video: {} }, { motion_detection: 'on' }],
    [{ video: { codecs: [], ratio: ' ', supported_resolutions: [''] } }, null],
  ])('does not appear when Ring tells %j and %j', async (capabilities, configurations) => {
    expect(await sectionOf(capabilities, configurations)).toBe('');
  });

  test('shows Ring’s words as text, whatever they are', async () => {
    const hostile = '<img src=x onerror=alert(1)>';
    const section = await sectionOf({
      video: { codecs: [hostile], ratio: '<img onerror=1>', max_resolution: '<img>', supported_resolutions: [hostile] },
      image_enhancements: { configurations: [hostile, '__proto__', 'constructor'] },
    });
    expect(factsIn(section)).toEqual([
      ['Video', 'Up to &lt;img&gt;'],
      ['Other video sizes', '&lt;img src=x onerror=alert(1)&gt;'],
      ['Video formats', '&lt;img src=x onerror=alert(1)&gt;'],
      ['Picture shape', '&lt;img onerror=1&gt;'],
      ['Also named by Ring', '&lt;img src=x onerror=alert(1)&gt;, __proto__, and constructor'],
    ]);
    expect(section).not.toContain('<img');
  });

  test('is told with the time at which Ring told it', async () => {
    const { visitor, path, ringUser } = await sharing(world);
    const at = '2026-03-04T05:06:07.000Z';
    await world.sql('UPDATE devices SET fetched_at = $2 WHERE account_id = $1', [ringUser.account_id, at]);

    const section = sectionIn((await visitor.open(path)).text);

    expect(section).toContain(`<time datetime="${at}">Mar 4, 2026, 5:06 AM UTC</time>`);
    expect(section).not.toContain('may have changed');
  });

  test('is told with a warning when Ring could not be asked since', async () => {
    const { visitor, path, ringUser, device } = await sharing(world);
    await world.ring.setFaults([{ endpoint: 'device', fault: { kind: 'status', status: 403 } }]);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_added', device_id: device.id });

    const shown = await until('the page warns', async () => {
      const { text } = await visitor.open(path);
      return text.includes('Ring isn’t answering right now') && text;
    });

    expect(factsIn(sectionIn(shown))).toContainEqual(['Motion detection', 'On']);
    await world.ring.setFaults([]);
  });
});
