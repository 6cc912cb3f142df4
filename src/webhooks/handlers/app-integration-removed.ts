import { endIntegration } from '../../linking/unlink.js';
import type { Handler } from '../handler.js';

export const appIntegrationRemoved: Handler<'app_integration_removed'> = ({ trx, now }, event) =>
  endIntegration(trx, { ...event, now });
