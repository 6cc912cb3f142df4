import { expect, test } from '@jest/globals';
import { networkOf } from '../../src/http/networks.js';
import { createPlaces } from '../../src/http/places.js';

const HOME = networkOf('203.0.113.8');
const OFFICE = networkOf('203.0.113.9');

test('places are bounded for a user, for a network, and in all', () => {
  const places = createPlaces({ ofUser: 2, ofNetwork: 3, ofProcess: 4 });
  expect(typeof places.take('ada', HOME)).toBe('function');
  expect(typeof places.take('ada', OFFICE)).toBe('function');
  expect(places.take('ada', HOME)).toBe('ofUser');
  expect(typeof places.take('ben', OFFICE)).toBe('function');
  expect(typeof places.take('cleo', OFFICE)).toBe('function');
  expect(places.taken()).toBe(4);
  expect(places.take('dan', HOME)).toBe('ofProcess');
});

test('a network that has its share leaves places for others', () => {
  const places = createPlaces({ ofUser: 1, ofNetwork: 2, ofProcess: 9 });
  places.take('ada', HOME);
  places.take('ben', HOME);
  expect(places.take('cleo', HOME)).toBe('ofNetwork');
  expect(typeof places.take('cleo', OFFICE)).toBe('function');
});

test('a place is given back once, however often one leaves', () => {
  const places = createPlaces({ ofUser: 2, ofNetwork: 2, ofProcess: 2 });
  const leave = places.take('ada', HOME);
  places.take('ada', HOME);
  if (typeof leave === 'string') throw new Error(leave);
  leave();
  leave();
  expect(places.taken()).toBe(1);
  expect(typeof places.take('ada', HOME)).toBe('function');
  expect(places.take('ada', HOME)).toBe('ofUser');
});
