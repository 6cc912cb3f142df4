import { refetchSubscriptions } from '../../ring-accounts/refetch.js';
import type { Handler } from '../handler.js';

/** The event is the trigger, Ring's answer the truth. */
export const subscriptionDeactivated: Handler<'subscription_deactivated'> = ({ trx }, { accountId }) =>
  refetchSubscriptions(trx, accountId);
