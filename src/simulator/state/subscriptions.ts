/** A purchase of the user's from the app in the Ring Appstore. */
export interface Subscription {
  id: string;
  /** `paid` or `trial`; a script may send any text. */
  sub_type: string;
  status: 'active' | 'inactive';
  /** Null for a trial. */
  plan_id: string | null;
  /** ISO 8601 */
  expires_at: string | null;
  /** ISO 8601 */
  created_at: string;
  device_ids: string[];
}
