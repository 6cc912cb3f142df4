import { endLink } from '../../linking/end-link.js';
import type { Handler } from '../handler.js';

export const appIntegrationRemoved: Handler<'app_integration_removed'> = ({ trx, now }, event) =>
  endLink(trx, { ...event, now });
