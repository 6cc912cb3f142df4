import { refetchSubscriptions } from '../../ring-accounts/refetch.js';
import type { Handler } from '../handler.js';

/** The event is the trigger, Ring's answer the truth. */
export const subscriptionActivated: Handler<'subscription_activated'> = ({ trx }, { accountId }) =>
  refetchSubscriptions(trx, accountId);
