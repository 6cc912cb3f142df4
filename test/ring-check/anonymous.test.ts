import { expect, test } from '@jest/globals';
import { DevicesAnswer } from '../../src/ring/devices.js';
import { createAnonymizer } from '../../src/ring-check/anonymous.js';
import { recordedAnswer } from '../support/worlds/recorded.js';

test('identifiers become short ones of the same form, the same one each time', () => {
  const anonymize = createAnonymizer();
  const id = 'ava1.ring.device.AH7QXkd83jJ.very.long';
  expect(
    anonymize({
      id,
      source_id: '88123456',
      request_id: 'BAC09FBB-7a79-4eca-80d8-4e05a4ea8d07',
      links: { related: `/v1/devices/${id}/status`, next: `/v1/history/devices/${id}/events?page[key]=cGVyc29u&x=1` },
      device_ids: [id, 'bac09fbb-7a79-4eca-80d8-4e05a4ea8d07'],
    }),
  ).toEqual({
    id: 'ava1.ring.device.AAAA0001',
    source_id: '1001',
    request_id: '00000000-0000-4000-8000-000000000001',
    links: {
      related: '/v1/devices/ava1.ring.device.AAAA0001/status',
      next: '/v1/history/devices/ava1.ring.device.AAAA0001/events?page[key]=value1&*=value2',
    },
    device_ids: ['ava1.ring.device.AAAA0001', '00000000-0000-4000-8000-000000000001'],
  });
  expect(anonymize({ id })).toEqual({ id: 'ava1.ring.device.AAAA0001' });
});

test('what may be about a person is replaced, wherever it stands; numbers, times and words of Ring’s stay', () => {
  const answer = {
    data: {
      type: 'users',
      attributes: {
        first_name: 'Hidden',
        email: 'hidden@example.org',
        phone_number: '+1 (555) 013-7788',
        note: 'ring at Hidden Street',
        image: 'https://hidden.example.org/hidden.jpg?hidden',
        latitude: 47.123,
        volume: 11,
        created_at: '2026-09-15T12:45:03Z',
        state: null,
        codecs: ['AVC', 'hidden words in a list'],
        on: true,
      },
      by_device: { 'Hidden Door': 1 },
    },
    errors: [{ status: '422', title: 'Unprocessable Entity', code: 'INVALID_PAYLOAD', detail: 'hidden' }],
  };
  const anonymous = createAnonymizer()(answer);
  expect(JSON.stringify(anonymous)).not.toMatch(/hidden|013|47\.1/i);
  expect(anonymous).toEqual({
    data: {
      type: 'users',
      attributes: {
        first_name: 'Name 1',
        email: 'person1@example.com',
        phone_number: '+15550100001',
        note: 'Text 1',
        image: 'https://www.example.com/1',
        latitude: 0,
        volume: 11,
        created_at: '2026-09-15T12:45:03Z',
        state: null,
        codecs: ['AVC', 'Text 2'],
        on: true,
      },
      by_device: { key1: 1 },
    },
    errors: [{ status: '422', title: 'Unprocessable Entity', code: 'INVALID_PAYLOAD', detail: 'Text 3' }],
  });
});

test('a record is read like the answer that it was made of', () => {
  const answer: unknown = JSON.parse(recordedAnswer('devices'));
  const [original] = DevicesAnswer.parse(answer).devices;
  const [replaced] = DevicesAnswer.parse(createAnonymizer()(answer)).devices;
  expect(replaced).toMatchObject({
    status: original?.status,
    capabilities: original?.capabilities,
    location: { country: 'US' },
    configurations: { image_enhancements: original?.configurations?.image_enhancements },
  });
  expect(replaced?.id).toBe('ava1.ring.device.AAAA0001');
});
