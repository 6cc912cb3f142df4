import { jest } from '@jest/globals';
import { WAIT_LIMIT_MS } from '../waiting/limits.js';

/** Long enough for several waits, so that the wait that hangs is reported by its name. */
jest.setTimeout(5 * WAIT_LIMIT_MS);
