-- The whole schema, as the migrations leave it. Made by `npm run tables`; a test compares.

CREATE TABLE account_links (
  id                        uuid NOT NULL,
  user_id                   uuid NOT NULL,
  account_id                text NOT NULL,
  token_id                  uuid NOT NULL,
  status                    text NOT NULL,
  confirmation_step         text,
  account_identifier        text NOT NULL,
  nonce_digest              bytea NOT NULL,
  request_key_id            text,
  request_ciphertext        bytea,
  last_error                text,
  created_at                timestamptz NOT NULL,
  updated_at                timestamptz NOT NULL,
  ring_confirmed_at         timestamptz,
  removed_at                timestamptz,
  completed_at              timestamptz,
  is_identifier_untold      boolean NOT NULL DEFAULT false,
  void_before               timestamptz,
  subscriptions_answered_at timestamptz,
  subscriptions_ask_at      timestamptz,
  CONSTRAINT account_links_pkey PRIMARY KEY (id),
  CONSTRAINT account_links_confirmation_step_check CHECK ((confirmation_step = ANY (ARRAY['CLAIMED', 'POSTING', 'PROBING', 'AWAITING', 'PATCHING']))),
  CONSTRAINT account_links_request_while_confirming CHECK ((((status = 'CONFIRMING') = (request_ciphertext IS NOT NULL)) AND ((request_ciphertext IS NULL) = (request_key_id IS NULL)))),
  CONSTRAINT account_links_status_check CHECK ((status = ANY (ARRAY['CONFIRMING', 'COMPLETED', 'REFUSED', 'REAUTH_REQUIRED', 'REMOVED']))),
  CONSTRAINT account_links_step_while_confirming CHECK (((status = 'CONFIRMING') = (confirmation_step IS NOT NULL))),
  CONSTRAINT account_links_token_id_fkey FOREIGN KEY (token_id) REFERENCES ring_tokens(id),
  CONSTRAINT account_links_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id)
);
CREATE INDEX account_links_account ON account_links (account_id);
CREATE UNIQUE INDEX account_links_live ON account_links (account_id) WHERE (status = ANY (ARRAY['CONFIRMING', 'COMPLETED', 'REAUTH_REQUIRED']));
CREATE INDEX account_links_nonce ON account_links (nonce_digest);
CREATE INDEX account_links_status ON account_links (status);
CREATE INDEX account_links_subscriptions_due ON account_links (subscriptions_ask_at) WHERE (status = 'COMPLETED');
CREATE INDEX account_links_token ON account_links (token_id);
CREATE INDEX account_links_user ON account_links (user_id, updated_at);

CREATE TABLE audit_archive (
  id                 uuid NOT NULL DEFAULT gen_random_uuid(),
  user_id            uuid NOT NULL,
  link_id            uuid,
  account_id         text,
  account_identifier text,
  kind               text NOT NULL,
  device_id          text,
  occurred_at        timestamptz NOT NULL,
  archived_at        timestamptz NOT NULL,
  reason             text NOT NULL,
  request_id         uuid,
  devices            jsonb NOT NULL,
  counts             jsonb NOT NULL,
  erased_at          timestamptz,
  CONSTRAINT audit_archive_pkey PRIMARY KEY (id),
  CONSTRAINT audit_archive_account_is_erased CHECK (((kind <> 'ACCOUNT_DELETED') OR (erased_at IS NOT NULL))),
  CONSTRAINT audit_archive_kind_check CHECK ((kind = ANY (ARRAY['DEVICE_REMOVED', 'LINK_REMOVED', 'ACCOUNT_DELETED']))),
  CONSTRAINT audit_archive_link_unless_account CHECK (((kind = 'ACCOUNT_DELETED') = (link_id IS NULL))),
  CONSTRAINT audit_archive_whole_or_erased CHECK (
CASE
    WHEN (erased_at IS NULL) THEN ((account_id IS NOT NULL) AND (account_identifier IS NOT NULL) AND ((kind = 'DEVICE_REMOVED') = (device_id IS NOT NULL)))
    ELSE ((account_id IS NULL) AND (account_identifier IS NULL) AND (device_id IS NULL) AND (request_id IS NULL) AND (devices = '[]'::jsonb))
END)
);
CREATE INDEX audit_archive_archived ON audit_archive (archived_at);
CREATE INDEX audit_archive_user ON audit_archive (user_id);

CREATE TABLE device_events (
  request_id         uuid NOT NULL,
  account_id         text NOT NULL,
  device_id          text NOT NULL,
  type               text NOT NULL,
  subtype            text,
  occurred_at        timestamptz NOT NULL,
  history_id         text,
  history_start      timestamptz,
  is_only_in_history boolean NOT NULL DEFAULT false,
  CONSTRAINT device_events_pkey PRIMARY KEY (request_id),
  CONSTRAINT device_events_history_whole CHECK (((history_id IS NULL) = (history_start IS NULL))),
  CONSTRAINT device_events_told_by_somebody CHECK (((history_id IS NOT NULL) OR (NOT is_only_in_history)))
);
CREATE INDEX device_events_age ON device_events USING brin (occurred_at);
CREATE UNIQUE INDEX device_events_history ON device_events (account_id, device_id, history_id) WHERE (history_id IS NOT NULL);
CREATE INDEX device_events_list ON device_events (account_id, device_id, occurred_at, request_id) INCLUDE (type, subtype);

CREATE TABLE device_histories (
  account_id    text NOT NULL,
  device_id     text NOT NULL,
  missing_since timestamptz,
  missing_until timestamptz,
  read_since    timestamptz,
  next_page     text,
  read_error    text,
  CONSTRAINT device_histories_pkey PRIMARY KEY (account_id, device_id),
  CONSTRAINT device_histories_missing_whole CHECK ((((missing_since IS NULL) = (missing_until IS NULL)) AND ((missing_since IS NULL) = (read_since IS NULL)))),
  CONSTRAINT device_histories_read_while_missing CHECK (((missing_since IS NOT NULL) OR ((next_page IS NULL) AND (read_error IS NULL))))
);

CREATE TABLE devices (
  account_id             text NOT NULL,
  id                     text NOT NULL,
  name                   text,
  online                 boolean,
  online_at              timestamptz,
  capabilities           jsonb,
  configurations         jsonb,
  location               jsonb,
  added_at               timestamptz,
  fetched_at             timestamptz,
  fetch_error            text,
  removed_at             timestamptz,
  online_since           timestamptz,
  has_event_pictures     boolean NOT NULL DEFAULT false,
  pictures_deleted_until timestamptz,
  void_before            timestamptz,
  is_doorbell            boolean NOT NULL DEFAULT false,
  sensors                jsonb,
  status_fetched_at      timestamptz,
  uncovered_since        timestamptz,
  CONSTRAINT devices_pkey PRIMARY KEY (account_id, id),
  CONSTRAINT devices_removed_means_erased CHECK (((removed_at IS NULL) OR ((online IS NULL) AND (online_at IS NULL) AND (capabilities IS NULL) AND (configurations IS NULL) AND (location IS NULL) AND (added_at IS NULL) AND (fetched_at IS NULL)))),
  CONSTRAINT devices_removed_means_sensors_erased CHECK (((removed_at IS NULL) OR (sensors IS NULL)))
);
CREATE INDEX devices_uncovered ON devices (account_id) WHERE (uncovered_since IS NOT NULL);

CREATE TABLE job_runners (
  pool_id text NOT NULL,
  seen_at timestamptz NOT NULL,
  CONSTRAINT job_runners_pkey PRIMARY KEY (pool_id)
);

CREATE TABLE live_views (
  id           uuid NOT NULL,
  user_id      uuid NOT NULL,
  link_id      uuid NOT NULL,
  account_id   text NOT NULL,
  device_id    text NOT NULL,
  status       text NOT NULL,
  session_path text,
  end_reason   text,
  started_at   timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL,
  ended_at     timestamptz,
  CONSTRAINT live_views_pkey PRIMARY KEY (id),
  CONSTRAINT live_views_end_has_reason CHECK ((((status = 'ENDED') = (end_reason IS NOT NULL)) AND ((status = 'ENDED') = (ended_at IS NOT NULL)))),
  CONSTRAINT live_views_end_reason_check CHECK ((end_reason = ANY (ARRAY['CLOSED', 'TIME_LIMIT', 'DEVICE_OFFLINE', 'DEVICE_REMOVED', 'LINK_REMOVED', 'FAILED', 'SUBSCRIPTION']))),
  CONSTRAINT live_views_status_check CHECK ((status = ANY (ARRAY['OPENING', 'OPEN', 'ENDED']))),
  CONSTRAINT live_views_link_id_fkey FOREIGN KEY (link_id) REFERENCES account_links(id),
  CONSTRAINT live_views_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id)
);
CREATE INDEX live_views_ended ON live_views (ended_at) WHERE (status = 'ENDED');
CREATE INDEX live_views_link ON live_views (link_id);
CREATE INDEX live_views_running ON live_views (account_id, device_id) WHERE (status <> 'ENDED');
CREATE INDEX live_views_user ON live_views (user_id);

CREATE TABLE picture_requests (
  id           uuid NOT NULL,
  account_id   text NOT NULL,
  device_id    text NOT NULL,
  event_id     uuid,
  is_automatic boolean NOT NULL,
  status       text NOT NULL,
  outcome      text,
  picture_id   uuid,
  asked_at     timestamptz NOT NULL,
  CONSTRAINT picture_requests_pkey PRIMARY KEY (id),
  CONSTRAINT picture_requests_end_has_outcome CHECK (((status = 'ENDED') = (outcome IS NOT NULL))),
  CONSTRAINT picture_requests_status_check CHECK ((status = ANY (ARRAY['WAITING', 'ENDED'])))
);
CREATE INDEX picture_requests_age ON picture_requests USING brin (asked_at);
CREATE UNIQUE INDEX picture_requests_event ON picture_requests (account_id, device_id, event_id) WHERE (event_id IS NOT NULL);
CREATE UNIQUE INDEX picture_requests_latest ON picture_requests (account_id, device_id) WHERE (event_id IS NULL);
CREATE INDEX picture_requests_waiting ON picture_requests (asked_at) WHERE ((status = 'WAITING') AND is_automatic);

CREATE TABLE rate_limits (
  key    character varying(255) NOT NULL,
  points integer NOT NULL DEFAULT 0,
  expire bigint,
  CONSTRAINT rate_limits_pkey PRIMARY KEY (key)
);

CREATE TABLE ring_tokens (
  id                       uuid NOT NULL,
  status                   text NOT NULL,
  account_id               text,
  key_id                   text,
  access_token_ciphertext  bytea,
  refresh_token_ciphertext bytea,
  scope                    text NOT NULL,
  access_token_expires_at  timestamptz NOT NULL,
  created_at               timestamptz NOT NULL,
  claimed_at               timestamptz,
  generation               integer NOT NULL DEFAULT 0,
  refreshed_at             timestamptz,
  refresh_state            text NOT NULL DEFAULT 'FINE',
  refresh_started_at       timestamptz,
  refresh_failures         integer NOT NULL DEFAULT 0,
  refresh_error            text,
  refresh_after            timestamptz,
  refresh_queued_until     timestamptz,
  arrival                  bigint NOT NULL DEFAULT nextval('webhook_events_id_seq'::regclass),
  installed_since          timestamptz,
  pool_place               bigint,
  CONSTRAINT ring_tokens_pkey PRIMARY KEY (id),
  CONSTRAINT ring_tokens_account_known CHECK (((account_id IS NOT NULL) OR (status = ANY (ARRAY['RECEIVED', 'EXPIRED'])))),
  CONSTRAINT ring_tokens_ended_means_erased CHECK ((((status = ANY (ARRAY['EXPIRED', 'REVOKED'])) = (key_id IS NULL)) AND ((key_id IS NULL) = (access_token_ciphertext IS NULL)) AND ((key_id IS NULL) = (refresh_token_ciphertext IS NULL)))),
  CONSTRAINT ring_tokens_refresh_state_check CHECK ((refresh_state = ANY (ARRAY['FINE', 'REFRESHING', 'UNCERTAIN', 'FAILING']))),
  CONSTRAINT ring_tokens_status_check CHECK ((status = ANY (ARRAY['RECEIVED', 'UNCLAIMED', 'CLAIMED', 'EXPIRED', 'REVOKED'])))
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=200, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=200);
CREATE INDEX ring_tokens_account ON ring_tokens (account_id);
CREATE INDEX ring_tokens_pool ON ring_tokens (pool_place) INCLUDE (account_id) WHERE (status = 'UNCLAIMED');
CREATE INDEX ring_tokens_received ON ring_tokens (created_at) WHERE (status = 'RECEIVED');
CREATE INDEX ring_tokens_refresh ON ring_tokens (COALESCE(refreshed_at, created_at)) WHERE (status = 'CLAIMED');
CREATE INDEX ring_tokens_refresh_state ON ring_tokens (refresh_state) WHERE (status = 'CLAIMED');
CREATE UNIQUE INDEX ring_tokens_unclaimed ON ring_tokens (account_id) WHERE (status = 'UNCLAIMED');

CREATE TABLE scheduled_operations (
  id           uuid NOT NULL,
  user_id      uuid NOT NULL,
  link_id      uuid NOT NULL,
  account_id   text NOT NULL,
  device_id    text NOT NULL,
  kind         text NOT NULL,
  frequency    text NOT NULL,
  time_of_day  time(0) without time zone,
  time_zone    text,
  status       text NOT NULL,
  pause_reason text,
  next_run_at  timestamptz,
  last_run_at  timestamptz,
  last_error   text,
  created_at   timestamptz NOT NULL,
  last_outcome text,
  CONSTRAINT scheduled_operations_pkey PRIMARY KEY (id),
  CONSTRAINT scheduled_operations_active_has_next_run CHECK ((((status = 'ACTIVE') = (next_run_at IS NOT NULL)) AND ((status = 'PAUSED') = (pause_reason IS NOT NULL)))),
  CONSTRAINT scheduled_operations_daily_has_time CHECK ((((frequency = 'DAILY') = (time_of_day IS NOT NULL)) AND ((time_of_day IS NULL) = (time_zone IS NULL)))),
  CONSTRAINT scheduled_operations_frequency_check CHECK ((frequency = ANY (ARRAY['HOURLY', 'DAILY']))),
  CONSTRAINT scheduled_operations_kind_check CHECK ((kind = 'SNAPSHOT')),
  CONSTRAINT scheduled_operations_pause_reason_check CHECK ((pause_reason = ANY (ARRAY['OFFLINE', 'USER', 'SUBSCRIPTION']))),
  CONSTRAINT scheduled_operations_status_check CHECK ((status = ANY (ARRAY['ACTIVE', 'PAUSED']))),
  CONSTRAINT scheduled_operations_link_id_fkey FOREIGN KEY (link_id) REFERENCES account_links(id),
  CONSTRAINT scheduled_operations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id)
);
CREATE INDEX scheduled_operations_device ON scheduled_operations (account_id, device_id);
CREATE INDEX scheduled_operations_due ON scheduled_operations (next_run_at) WHERE (status = 'ACTIVE');
CREATE INDEX scheduled_operations_link ON scheduled_operations (link_id);
CREATE INDEX scheduled_operations_status ON scheduled_operations (status);
CREATE INDEX scheduled_operations_user ON scheduled_operations (user_id);

CREATE TABLE service_presence (
  is_only boolean NOT NULL DEFAULT true,
  seen_at timestamptz NOT NULL,
  CONSTRAINT service_presence_pkey PRIMARY KEY (is_only),
  CONSTRAINT service_presence_is_only_check CHECK (is_only)
);

CREATE TABLE sessions (
  sid    character varying NOT NULL,
  sess   json NOT NULL,
  expire timestamptz NOT NULL,
  CONSTRAINT sessions_pkey PRIMARY KEY (sid)
);
CREATE INDEX sessions_expire ON sessions (expire);
CREATE INDEX sessions_user ON sessions (((sess #>> '{passport,user}'[])));

CREATE TABLE snapshots (
  id           uuid NOT NULL,
  account_id   text NOT NULL,
  device_id    text NOT NULL,
  taken_at     timestamptz NOT NULL,
  content_type text NOT NULL,
  picture      bytea NOT NULL,
  stored_at    timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT snapshots_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX snapshots_frame ON snapshots (account_id, device_id, taken_at);

CREATE TABLE subscriptions (
  account_id text NOT NULL,
  id         text NOT NULL,
  sub_type   text NOT NULL,
  status     text NOT NULL,
  plan_id    text,
  expires_at timestamptz,
  created_at timestamptz,
  device_ids text[] NOT NULL,
  fetched_at timestamptz NOT NULL,
  CONSTRAINT subscriptions_pkey PRIMARY KEY (account_id, id)
);

CREATE TABLE token_exchanges (
  code_digest bytea NOT NULL,
  outcome     text NOT NULL,
  started_at  timestamptz NOT NULL,
  CONSTRAINT token_exchanges_pkey PRIMARY KEY (code_digest),
  CONSTRAINT token_exchanges_outcome_check CHECK ((outcome = ANY (ARRAY['EXCHANGING', 'STORED', 'REFUSED', 'FAILED', 'UNCERTAIN'])))
);
CREATE INDEX token_exchanges_started ON token_exchanges (started_at);

CREATE TABLE users (
  id                  uuid NOT NULL DEFAULT gen_random_uuid(),
  email               text NOT NULL,
  password_hash       text NOT NULL,
  created_at          timestamptz NOT NULL,
  credentials_version integer NOT NULL DEFAULT 0,
  exempt_since        timestamptz,
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_email_key UNIQUE (email)
);
CREATE INDEX users_exempt ON users (exempt_since) WHERE (exempt_since IS NOT NULL);

CREATE TABLE webhook_events (
  id           bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY,
  request_id   uuid NOT NULL,
  account_id   text NOT NULL,
  type         text NOT NULL,
  device_id    text,
  status       text NOT NULL,
  attempts     integer NOT NULL DEFAULT 0,
  last_error   text,
  retry_at     timestamptz,
  body         text,
  occurred_at  timestamptz NOT NULL,
  received_at  timestamptz NOT NULL,
  processed_at timestamptz,
  CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
  CONSTRAINT webhook_events_body_while_needed CHECK (((body IS NOT NULL) OR (status = ANY (ARRAY['PROCESSED', 'UNKNOWN_TYPE'])))),
  CONSTRAINT webhook_events_status_check CHECK ((status = ANY (ARRAY['PENDING', 'PROCESSED', 'UNKNOWN_TYPE', 'FAILED']))),
  CONSTRAINT webhook_events_request_id_key UNIQUE (request_id)
);
CREATE INDEX webhook_events_account ON webhook_events (account_id, status, id);
CREATE INDEX webhook_events_failed ON webhook_events (id) WHERE (status = 'FAILED');
CREATE INDEX webhook_events_latest_removals ON webhook_events (received_at) WHERE (type = 'app_integration_removed');
CREATE INDEX webhook_events_pending ON webhook_events (account_id, id) WHERE (status = 'PENDING');
CREATE INDEX webhook_events_removals ON webhook_events (account_id, id) WHERE ((status = 'PENDING') AND (type = 'app_integration_removed'));
