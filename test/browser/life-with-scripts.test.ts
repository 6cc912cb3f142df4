import { describe } from '@jest/globals';
import { livesALife } from './life.js';

describe('a user with scripts on a phone', () => {
  livesALife({ hasScripts: true, viewport: { width: 320, height: 640 }, timezoneId: 'America/New_York' });
});
