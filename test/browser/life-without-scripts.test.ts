import { describe } from '@jest/globals';
import { livesALife } from './life.js';

describe('a user without scripts on a desktop', () => {
  livesALife({ hasScripts: false, viewport: { width: 1280, height: 800 }, timezoneId: 'Asia/Tokyo' });
});
