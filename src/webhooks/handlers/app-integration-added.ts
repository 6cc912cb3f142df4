import { markConfirmedByRing } from '../../ring-accounts/link-rows.js';
import type { Handler } from '../handler.js';

export const appIntegrationAdded: Handler<'app_integration_added'> = ({ trx }, event) =>
  markConfirmedByRing(trx, event);
