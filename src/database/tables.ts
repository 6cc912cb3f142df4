// Made by `npm run tables` from a migrated database; a test compares.
import type { Knex } from 'knex';

/** The rows of each table, as `pg` reads them. A statement that reads a part of a row takes `Pick<Tables['users'], 'id'>`. */
export interface Tables {
  account_links: {
    id: string;
    user_id: string;
    account_id: string;
    token_id: string;
    status: 'CONFIRMING' | 'COMPLETED' | 'REFUSED' | 'REAUTH_REQUIRED' | 'REMOVED';
    confirmation_step: 'CLAIMED' | 'POSTING' | 'PROBING' | 'AWAITING' | 'PATCHING' | null;
    account_identifier: string;
    nonce_digest: Buffer;
    request_key_id: string | null;
    request_ciphertext: Buffer | null;
    last_error: string | null;
    created_at: Date;
    updated_at: Date;
    ring_confirmed_at: Date | null;
    removed_at: Date | null;
    completed_at: Date | null;
    is_identifier_untold: boolean;
    void_before: Date | null;
    subscriptions_answered_at: Date | null;
    subscriptions_ask_at: Date | null;
  };
  audit_archive: {
    id: string;
    user_id: string;
    link_id: string | null;
    account_id: string | null;
    account_identifier: string | null;
    kind: 'DEVICE_REMOVED' | 'LINK_REMOVED' | 'ACCOUNT_DELETED';
    device_id: string | null;
    occurred_at: Date;
    archived_at: Date;
    reason: string;
    request_id: string | null;
    devices: unknown;
    counts: unknown;
    erased_at: Date | null;
  };
  device_events: {
    request_id: string;
    account_id: string;
    device_id: string;
    type: string;
    subtype: string | null;
    occurred_at: Date;
    history_id: string | null;
    history_start: Date | null;
    is_only_in_history: boolean;
  };
  device_histories: {
    account_id: string;
    device_id: string;
    missing_since: Date | null;
    missing_until: Date | null;
    read_since: Date | null;
    next_page: string | null;
    read_error: string | null;
  };
  devices: {
    account_id: string;
    id: string;
    name: string | null;
    online: boolean | null;
    online_at: Date | null;
    capabilities: unknown;
    configurations: unknown;
    location: unknown;
    added_at: Date | null;
    fetched_at: Date | null;
    fetch_error: string | null;
    removed_at: Date | null;
    online_since: Date | null;
    has_event_pictures: boolean;
    pictures_deleted_until: Date | null;
    void_before: Date | null;
    is_doorbell: boolean;
    sensors: unknown;
    status_fetched_at: Date | null;
    uncovered_since: Date | null;
  };
  job_runners: {
    pool_id: string;
    seen_at: Date;
  };
  live_views: {
    id: string;
    user_id: string;
    link_id: string;
    account_id: string;
    device_id: string;
    status: 'OPENING' | 'OPEN' | 'ENDED';
    session_path: string | null;
    end_reason:
      'CLOSED' | 'TIME_LIMIT' | 'DEVICE_OFFLINE' | 'DEVICE_REMOVED' | 'LINK_REMOVED' | 'FAILED' | 'SUBSCRIPTION' | null;
    started_at: Date;
    expires_at: Date;
    ended_at: Date | null;
  };
  picture_requests: {
    id: string;
    account_id: string;
    device_id: string;
    event_id: string | null;
    is_automatic: boolean;
    status: 'WAITING' | 'ENDED';
    outcome: string | null;
    picture_id: string | null;
    asked_at: Date;
  };
  rate_limits: {
    key: string;
    points: number;
    expire: string | null;
  };
  ring_tokens: {
    id: string;
    status: 'RECEIVED' | 'UNCLAIMED' | 'CLAIMED' | 'EXPIRED' | 'REVOKED';
    account_id: string | null;
    key_id: string | null;
    access_token_ciphertext: Buffer | null;
    refresh_token_ciphertext: Buffer | null;
    scope: string;
    access_token_expires_at: Date;
    created_at: Date;
    claimed_at: Date | null;
    generation: number;
    refreshed_at: Date | null;
    refresh_state: 'FINE' | 'REFRESHING' | 'UNCERTAIN' | 'FAILING';
    refresh_started_at: Date | null;
    refresh_failures: number;
    refresh_error: string | null;
    refresh_after: Date | null;
    refresh_queued_until: Date | null;
    arrival: string;
    installed_since: Date | null;
    pool_place: string | null;
  };
  scheduled_operations: {
    id: string;
    user_id: string;
    link_id: string;
    account_id: string;
    device_id: string;
    kind: 'SNAPSHOT';
    frequency: 'HOURLY' | 'DAILY';
    time_of_day: string | null;
    time_zone: string | null;
    status: 'ACTIVE' | 'PAUSED';
    pause_reason: 'OFFLINE' | 'USER' | 'SUBSCRIPTION' | null;
    next_run_at: Date | null;
    last_run_at: Date | null;
    last_error: string | null;
    created_at: Date;
    last_outcome: string | null;
  };
  service_presence: {
    is_only: boolean;
    seen_at: Date;
  };
  sessions: {
    sid: string;
    sess: unknown;
    expire: Date;
  };
  snapshots: {
    id: string;
    account_id: string;
    device_id: string;
    taken_at: Date;
    content_type: string;
    picture: Buffer;
    stored_at: Date;
  };
  subscriptions: {
    account_id: string;
    id: string;
    sub_type: string;
    status: string;
    plan_id: string | null;
    expires_at: Date | null;
    created_at: Date | null;
    device_ids: string[];
    fetched_at: Date;
  };
  token_exchanges: {
    code_digest: Buffer;
    outcome: 'EXCHANGING' | 'STORED' | 'REFUSED' | 'FAILED' | 'UNCERTAIN';
    started_at: Date;
  };
  users: {
    id: string;
    email: string;
    password_hash: string;
    created_at: Date;
    credentials_version: number;
    exempt_since: Date | null;
  };
  webhook_events: {
    id: string;
    request_id: string;
    account_id: string;
    type: string;
    device_id: string | null;
    status: 'PENDING' | 'PROCESSED' | 'UNKNOWN_TYPE' | 'FAILED';
    attempts: number;
    last_error: string | null;
    retry_at: Date | null;
    body: string | null;
    occurred_at: Date;
    received_at: Date;
    processed_at: Date | null;
  };
}

/** The columns that an insert may leave out. */
interface Optional {
  account_links:
    | 'confirmation_step'
    | 'request_key_id'
    | 'request_ciphertext'
    | 'last_error'
    | 'ring_confirmed_at'
    | 'removed_at'
    | 'completed_at'
    | 'is_identifier_untold'
    | 'void_before'
    | 'subscriptions_answered_at'
    | 'subscriptions_ask_at';
  audit_archive: 'id' | 'link_id' | 'account_id' | 'account_identifier' | 'device_id' | 'request_id' | 'erased_at';
  device_events: 'subtype' | 'history_id' | 'history_start' | 'is_only_in_history';
  device_histories: 'missing_since' | 'missing_until' | 'read_since' | 'next_page' | 'read_error';
  devices:
    | 'name'
    | 'online'
    | 'online_at'
    | 'capabilities'
    | 'configurations'
    | 'location'
    | 'added_at'
    | 'fetched_at'
    | 'fetch_error'
    | 'removed_at'
    | 'online_since'
    | 'has_event_pictures'
    | 'pictures_deleted_until'
    | 'void_before'
    | 'is_doorbell'
    | 'sensors'
    | 'status_fetched_at'
    | 'uncovered_since';
  job_runners: never;
  live_views: 'session_path' | 'end_reason' | 'ended_at';
  picture_requests: 'event_id' | 'outcome' | 'picture_id';
  rate_limits: 'points' | 'expire';
  ring_tokens:
    | 'account_id'
    | 'key_id'
    | 'access_token_ciphertext'
    | 'refresh_token_ciphertext'
    | 'claimed_at'
    | 'generation'
    | 'refreshed_at'
    | 'refresh_state'
    | 'refresh_started_at'
    | 'refresh_failures'
    | 'refresh_error'
    | 'refresh_after'
    | 'refresh_queued_until'
    | 'arrival'
    | 'installed_since'
    | 'pool_place';
  scheduled_operations:
    'time_of_day' | 'time_zone' | 'pause_reason' | 'next_run_at' | 'last_run_at' | 'last_error' | 'last_outcome';
  service_presence: 'is_only';
  sessions: never;
  snapshots: 'stored_at';
  subscriptions: 'plan_id' | 'expires_at' | 'created_at';
  token_exchanges: never;
  users: 'id' | 'credentials_version' | 'exempt_since';
  webhook_events: 'id' | 'device_id' | 'attempts' | 'last_error' | 'retry_at' | 'body' | 'processed_at';
}

type Insert<Name extends keyof Tables> = Omit<Tables[Name], Optional[Name]> &
  Partial<Pick<Tables[Name], Extract<Optional[Name], keyof Tables[Name]>>>;

type Table<Name extends keyof Tables> = Knex.CompositeTableType<Tables[Name], Insert<Name>, Partial<Tables[Name]>>;

declare module 'knex/types/tables.js' {
  interface Tables {
    account_links: Table<'account_links'>;
    audit_archive: Table<'audit_archive'>;
    device_events: Table<'device_events'>;
    device_histories: Table<'device_histories'>;
    devices: Table<'devices'>;
    job_runners: Table<'job_runners'>;
    live_views: Table<'live_views'>;
    picture_requests: Table<'picture_requests'>;
    rate_limits: Table<'rate_limits'>;
    ring_tokens: Table<'ring_tokens'>;
    scheduled_operations: Table<'scheduled_operations'>;
    service_presence: Table<'service_presence'>;
    sessions: Table<'sessions'>;
    snapshots: Table<'snapshots'>;
    subscriptions: Table<'subscriptions'>;
    token_exchanges: Table<'token_exchanges'>;
    users: Table<'users'>;
    webhook_events: Table<'webhook_events'>;
  }
}
