import { jest } from '@jest/globals';
import { WAIT_LIMIT_MS } from './limits.js';

/** Room for several waits, so that it is the wait that hangs which is reported, by its name. */
jest.setTimeout(5 * WAIT_LIMIT_MS);
