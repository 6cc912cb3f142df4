import { refetchSubscriptions } from '../../ring-accounts/refetch.js';
import type { Handler } from '../handler.js';

/** The event is only the trigger: a job asks Ring for the subscriptions. */
export const subscriptionDeactivated: Handler<'subscription_deactivated'> = ({ trx }, { accountId }) =>
  refetchSubscriptions(trx, accountId);
