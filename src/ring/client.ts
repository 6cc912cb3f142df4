import { z } from 'zod';
import {
  DEVICE_INCLUDES,
  DeviceAnswer,
  DevicesAnswer,
  type DeviceStatus,
  DeviceStatusAnswer,
  type RingDevice,
} from './devices.js';
import type { Endpoint } from './endpoints.js';
import { RingError } from './errors.js';
import { HistoryAnswer, type HistoryPage } from './history.js';
import { type OpenedLiveView, openLiveView } from './live-view.js';
import {
  downloadPicture,
  type EncryptedMedia,
  openClip,
  type PictureQuery,
  pictureRequest,
  type RingClip,
  type RingPicture,
} from './media.js';
import { type RingSubscription, SubscriptionsAnswer } from './subscriptions.js';
import { humanText, opaque } from './text.js';
import { type Call, createTransport, type TransportOptions } from './transport.js';

export interface TokenPair {
  accessToken: string;
  refreshToken: string;
  scope: string;
  /** Lifetime of the access token in seconds. */
  expiresIn: number;
}

export interface RingClientOptions extends TransportOptions {
  oauthUrl: string;
  apiUrl: string;
  clientId: string;
  clientSecret: string;
  /** The id of the request on whose behalf a call is made, sent as `X-Request-Id`: it finds the call in Ring's log. */
  requestId?: () => string | undefined;
}

/**
 * Every call that we make to Ring. Nothing is retried here, because only the caller knows whether a call may be sent again.
 * Every method throws a {@link RingError} and nothing else.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export interface RingClient {
  /** Exchanges an authorization code, which works once and lives 60 s. */
  exchangeCode(code: string): Promise<TokenPair>;
  /** Replaces a token pair: from then on the old refresh token is dead, unless the answer has no other (RFC 6749, 6). */
  refreshTokens(refreshToken: string): Promise<TokenPair>;
  /** The account ID behind an access token. */
  getAccountId(accessToken: string): Promise<string>;
  /** Tells Ring that the nonce was matched: the integration becomes `awaiting`. */
  announceLink(accessToken: string, link: AccountIdentifier & { nonce: string }): Promise<void>;
  /** Tells Ring that the link stands: the integration becomes `completed`. */
  completeLink(accessToken: string, link: AccountIdentifier): Promise<void>;
  /** Tells Ring the new account identifier of a link that stands. */
  changeIdentifier(accessToken: string, link: { accountIdentifier: string }): Promise<void>;
  /** Every device of the integration, whole. */
  getDevices(accessToken: string): Promise<RingDevice[]>;
  /** One device, whole. {@link isGone} when it is not in the integration any more. */
  getDevice(accessToken: string, deviceId: string): Promise<RingDevice>;
  /** The state of one device. {@link isGone} when it is not in the integration any more. */
  getDeviceStatus(accessToken: string, deviceId: string): Promise<DeviceStatus>;
  /**
   * A page of what a device has recorded, newest first.
   *
   * @param next the page's address, by the page before it; without one it is the first
   */
  getHistory(accessToken: string, deviceId: string, next?: string): Promise<HistoryPage>;
  /** Every subscription of the account, ended ones included. */
  getSubscriptions(accessToken: string): Promise<RingSubscription[]>;
  /** Opens a WHEP session. `unavailable` when the device is offline, {@link isGone} when it was removed. */
  openLiveView(accessToken: string, deviceId: string, offer: string): Promise<OpenedLiveView>;
  /** Closes a WHEP session. {@link isGone} when it has ended by itself. */
  closeLiveView(accessToken: string, sessionPath: string): Promise<void>;
  /**
   * Looks up a picture that Ring has recorded, 5 MB at most. The time that is asked for must not begin before the user shared
   * the device, or it is refused whole: `rejected`, TIME_RANGE_NOT_AUTHORIZED. Nothing recorded in it is `rejected`,
   * MEDIA_NOT_FOUND, and a recording that is still being made `unavailable`, RECORDING_NOT_READY.
   */
  downloadPicture(accessToken: string, deviceId: string, query: PictureQuery): Promise<RingPicture | EncryptedMedia>;
  /**
   * Opens the stream of what a device has recorded from a time on, for `durationMs` at most. Nothing recorded is `rejected`,
   * TIMESTAMP_NOT_FOUND.
   *
   * @param signal ends the stream
   */
  openClip(
    accessToken: string,
    deviceId: string,
    clip: { startsAt: Date; durationMs: number },
    signal: AbortSignal,
  ): Promise<RingClip | EncryptedMedia>;
}

/** What the Ring user is shown of the partner's user, masked; null leaves it out. */
interface AccountIdentifier {
  accountIdentifier: string | null;
}

/** Some dozens of devices with their zones. */
const MAX_LIST_BYTES = 4 * 1024 * 1024;
/** More pages than any account has. A list that goes on is a mistake. */
const MAX_PAGES = 40;

/**
 * Only the two tokens are required, because this is our only chance to get them: refusing the answer would lose the link.
 */
const TokenAnswer = z.object({
  access_token: opaque(8_192),
  refresh_token: opaque(8_192),
  scope: humanText(1_024).catch(''),
  expires_in: z.coerce.number().int().min(1).max(31_536_000).catch(14_400),
});

/** RFC 6749, 6: an answer without a refresh token leaves the old one good. */
const RefreshAnswer = TokenAnswer.extend({ refresh_token: TokenAnswer.shape.refresh_token.nullish().catch(null) });

export const UserAnswer = z.object({ data: z.object({ type: z.literal('users'), id: opaque(512) }) });

const INTEGRATION_PATH = '/v1/accounts/me/app-integrations';
const SUBSCRIPTIONS_PATH = '/v1/accounts/me/subscriptions';

const OPEN_LIVE_VIEW = 'POST /v1/devices/{id}/media/streaming/whep/sessions';
const CLOSE_LIVE_VIEW = 'DELETE /v1/devices/{id}/media/streaming/whep/sessions/{id}';
const DOWNLOAD_IMAGE = 'POST /v1/devices/{id}/media/image/download';
const DOWNLOAD_VIDEO = 'POST /v1/devices/{id}/media/video/download';
const GET_HISTORY = 'GET /v1/history/devices/{id}/events';

/** The kinds of history that we read, as Ring's filter names them. Live views are what the user has done. */
export const HISTORY_FILTER = 'motion,ding';

export function createRingClient(options: RingClientOptions): RingClient {
  const transport = createTransport(options);

  function commonHeaders(): Record<string, string> {
    const requestId = options.requestId?.();
    return { accept: 'application/json', ...(requestId !== undefined && { 'x-request-id': requestId }) };
  }

  /** @param target a path of ours, or a whole URL that Ring gave us */
  function apiCall(name: Endpoint, target: string, accessToken: string, more: Partial<Call> = {}): Call {
    return {
      name,
      url: target.startsWith('/') ? options.apiUrl + target : target,
      method: name.slice(0, name.indexOf(' ')),
      ...more,
      headers: { ...commonHeaders(), authorization: `Bearer ${accessToken}`, ...more.headers },
    };
  }

  async function requestTokens<Answer>(grant: Record<string, string>, schema: z.ZodType<Answer>): Promise<Answer> {
    const { clientId: client_id, clientSecret: client_secret } = options;
    const call: Call = {
      name: 'POST /oauth/token',
      url: `${options.oauthUrl}/oauth/token`,
      method: 'POST',
      body: new URLSearchParams({ ...grant, client_id, client_secret }),
      headers: commonHeaders(),
    };
    return transport.json(call, schema);
  }

  /** Any 2xx is a yes, whatever its body: Ring's pages disagree on that, and a link must not depend on it. */
  async function changeIntegration(
    method: 'POST' | 'PATCH',
    accessToken: string,
    { accountIdentifier }: AccountIdentifier,
    more: { nonce?: string; status?: 'completed' },
  ): Promise<void> {
    const call = apiCall(`${method} ${INTEGRATION_PATH}`, INTEGRATION_PATH, accessToken, {
      ...JSON_BODY,
      body: JSON.stringify({ ...(accountIdentifier !== null && { account_identifier: accountIdentifier }), ...more }),
    });
    await transport.succeed(call, () => undefined);
  }

  /** Every entry of a list, page after page. The last one has no link to another, or is empty. @throws {RingError} */
  async function allPages<Entry>(
    name: Endpoint,
    path: string,
    accessToken: string,
    read: (call: Call) => Promise<{ entries: Entry[]; count: number; next: string | null | undefined }>,
  ): Promise<Entry[]> {
    const all: Entry[] = [];
    let target = path;
    for (let page = 0; page < MAX_PAGES; page++) {
      const call = apiCall(name, target, accessToken, { maxBytes: MAX_LIST_BYTES });
      const { entries, count, next } = await read(call);
      all.push(...entries);
      if (count === 0 || !next) return all;
      target = ownUrl(call, next);
    }
    throw new RingError('malformed', name);
  }

  return {
    async exchangeCode(code) {
      const answer = await requestTokens({ grant_type: 'authorization_code', code }, TokenAnswer);
      return pairOf(answer, answer.refresh_token);
    },

    async refreshTokens(refreshToken) {
      const answer = await requestTokens({ grant_type: 'refresh_token', refresh_token: refreshToken }, RefreshAnswer);
      return pairOf(answer, answer.refresh_token ?? refreshToken);
    },

    async getAccountId(accessToken) {
      try {
        const { data } = await transport.json(apiCall('GET /v1/users/me', '/v1/users/me', accessToken), UserAnswer);
        return data.id;
      } catch (error) {
        throw asUnauthorized(error);
      }
    },

    announceLink: (accessToken, { nonce, ...link }) => changeIntegration('POST', accessToken, link, { nonce }),

    completeLink: (accessToken, link) => changeIntegration('PATCH', accessToken, link, { status: 'completed' }),

    // Ring does not say whether a completed integration takes its status a second time, so only the identifier is sent.
    changeIdentifier: (accessToken, link) => changeIntegration('PATCH', accessToken, link, {}),

    getDevices: (accessToken) =>
      allPages('GET /v1/devices', `/v1/devices?include=${DEVICE_INCLUDES}`, accessToken, async (call) => {
        const { devices, count, links } = await transport.json(call, DevicesAnswer);
        return { entries: devices, count, next: links?.next };
      }),

    getDevice(accessToken, deviceId) {
      const path = `${devicePath(deviceId)}?include=${DEVICE_INCLUDES}`;
      return transport.json(
        apiCall('GET /v1/devices/{id}', path, accessToken, { maxBytes: MAX_LIST_BYTES }),
        DeviceAnswer,
      );
    },

    async getDeviceStatus(accessToken, deviceId) {
      const call = apiCall('GET /v1/devices/{id}/status', `${devicePath(deviceId)}/status`, accessToken);
      const { data } = await transport.json(call, DeviceStatusAnswer);
      return data.attributes;
    },

    async getHistory(accessToken, deviceId, next) {
      const path = `/v1/history/devices/${encodeURIComponent(deviceId)}/events?event_types=${HISTORY_FILTER}`;
      const first = apiCall(GET_HISTORY, path, accessToken, { maxBytes: MAX_LIST_BYTES });
      // The address of a further page was kept, and Ring may have been another one then.
      const call = next === undefined ? first : { ...first, url: ownUrl(first, next) };
      const { data, links } = await transport.json(call, HistoryAnswer);
      const link = data.count === 0 ? undefined : links?.next;
      return { events: data.events, next: link ? withFilter(ownUrl(call, link), HISTORY_FILTER) : null };
    },

    getSubscriptions: (accessToken) =>
      allPages(`GET ${SUBSCRIPTIONS_PATH}`, SUBSCRIPTIONS_PATH, accessToken, async (call) => {
        const { data, links } = await transport.json(call, SubscriptionsAnswer);
        return { entries: data, count: data.length, next: links?.next };
      }),

    openLiveView: (accessToken, deviceId, offer) =>
      openLiveView(
        transport,
        apiCall(OPEN_LIVE_VIEW, `${devicePath(deviceId)}/media/streaming/whep/sessions`, accessToken),
        offer,
      ),

    async closeLiveView(accessToken, sessionPath) {
      const { origin } = new URL(options.apiUrl);
      await transport.succeed(apiCall(CLOSE_LIVE_VIEW, `${origin}${sessionPath}`, accessToken), () => undefined);
    },

    downloadPicture: (accessToken, deviceId, query) =>
      downloadPicture(
        transport,
        apiCall(DOWNLOAD_IMAGE, `${devicePath(deviceId)}/media/image/download`, accessToken, {
          ...JSON_BODY,
          body: pictureRequest(query),
        }),
      ),

    openClip: (accessToken, deviceId, { startsAt, durationMs }, signal) =>
      openClip(
        transport,
        apiCall(DOWNLOAD_VIDEO, `${devicePath(deviceId)}/media/video/download`, accessToken, {
          ...JSON_BODY,
          body: JSON.stringify({ timestamp: startsAt.getTime(), duration: durationMs }),
        }),
        signal,
      ),
  };
}

const JSON_BODY = { headers: { 'content-type': 'application/json' } };

const pairOf = (answer: Omit<z.output<typeof TokenAnswer>, 'refresh_token'>, refreshToken: string): TokenPair => ({
  accessToken: answer.access_token,
  refreshToken,
  scope: answer.scope,
  expiresIn: answer.expires_in,
});

/** Ring's users/me says 403 where its other endpoints say 401, whatever stands in the body. */
function asUnauthorized(error: unknown): unknown {
  if (!(error instanceof RingError && error.status === 403)) return error;
  const { call, code } = error;
  return new RingError('unauthorized', call, { status: 401, ...(code !== undefined && { code }), cause: error });
}

/** The URL of a further page of history, with the filter of the first, which Ring may have dropped. */
export function withFilter(next: string, filter: string): string {
  const url = new URL(next);
  if (!url.searchParams.has('event_types')) url.searchParams.set('event_types', filter);
  return url.href;
}

const devicePath = (deviceId: string): string => `/v1/devices/${encodeURIComponent(deviceId)}`;

/** The URL of a link in an answer, if it leads to Ring: a bearer token must not go anywhere else. @throws {RingError} */
export function ownUrl(call: Call, link: string): string {
  const url = URL.canParse(link, call.url) ? new URL(link, call.url) : undefined;
  if (url?.origin !== new URL(call.url).origin) throw new RingError('malformed', call.name, { status: 200 });
  return url.href;
}
