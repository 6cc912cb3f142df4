import { z } from 'zod';
import { DEVICE_INCLUDES, DeviceAnswer, DevicesAnswer, type RingDevice } from './devices.js';
import type { Endpoint } from './endpoints.js';
import { RingError } from './errors.js';
import { openLiveView } from './live-view.js';
import { downloadImage, type RingImage } from './media.js';
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
  /** Replaces a token pair: from then on the old refresh token is dead. */
  refreshTokens(refreshToken: string): Promise<TokenPair>;
  /** The account ID behind an access token. */
  getAccountId(accessToken: string): Promise<string>;
  /** Tells Ring that the nonce was matched: the integration becomes `awaiting`. */
  announceLink(accessToken: string, link: { accountIdentifier: string; nonce: string }): Promise<void>;
  /** Tells Ring that the link stands: the integration becomes `completed`. */
  completeLink(accessToken: string, link: { accountIdentifier: string }): Promise<void>;
  /** Tells Ring the new account identifier of a link that stands. */
  changeIdentifier(accessToken: string, link: { accountIdentifier: string }): Promise<void>;
  /** Every device of the integration, whole. */
  getDevices(accessToken: string): Promise<RingDevice[]>;
  /** One device, whole. {@link isGone} when it is not in the integration any more. */
  getDevice(accessToken: string, deviceId: string): Promise<RingDevice>;
  /** Every subscription of the account, ended ones included. */
  getSubscriptions(accessToken: string): Promise<RingSubscription[]>;
  /** Opens a WHEP session. `unavailable` when the device is offline, {@link isGone} when it was removed. */
  openLiveView(accessToken: string, deviceId: string, offer: string): Promise<{ answer: string; sessionPath: string }>;
  /** Closes a WHEP session. {@link isGone} when it has ended by itself. */
  closeLiveView(accessToken: string, sessionPath: string): Promise<void>;
  /** Downloads a picture of what the device sees now, 5 MB at most. */
  downloadImage(accessToken: string, deviceId: string): Promise<RingImage>;
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

const UserAnswer = z.object({ data: z.object({ type: z.literal('users'), id: opaque(512) }) });

const IntegrationStatus = z.object({ status: z.string() });
/** Ring's own pages disagree on the shape of this answer: flat, or JSON:API. */
const IntegrationAnswer = z.union([
  IntegrationStatus,
  z.object({ data: z.object({ attributes: IntegrationStatus }) }).transform(({ data }) => data.attributes),
]);

const INTEGRATION_PATH = '/v1/accounts/me/app-integrations';
const SUBSCRIPTIONS_PATH = '/v1/accounts/me/subscriptions';

const OPEN_LIVE_VIEW = 'POST /v1/devices/{id}/media/streaming/whep/sessions';
const CLOSE_LIVE_VIEW = 'DELETE /v1/devices/{id}/media/streaming/whep/sessions/{id}';
const DOWNLOAD_IMAGE = 'POST /v1/devices/{id}/media/image/download';

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

  async function requestTokens(grant: Record<string, string>): Promise<TokenPair> {
    const { clientId: client_id, clientSecret: client_secret } = options;
    const call: Call = {
      name: 'POST /oauth/token',
      url: `${options.oauthUrl}/oauth/token`,
      method: 'POST',
      body: new URLSearchParams({ ...grant, client_id, client_secret }),
      headers: commonHeaders(),
    };
    const answer = await transport.json(call, TokenAnswer);
    return {
      accessToken: answer.access_token,
      refreshToken: answer.refresh_token,
      scope: answer.scope,
      expiresIn: answer.expires_in,
    };
  }

  function integrationCall(method: 'POST' | 'PATCH', accessToken: string, body: object): Call {
    return apiCall(`${method} ${INTEGRATION_PATH}`, INTEGRATION_PATH, accessToken, {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  async function changeIntegration(
    method: 'POST' | 'PATCH',
    accessToken: string,
    body: object,
    expected: 'awaiting' | 'completed',
  ): Promise<void> {
    await transport.json(
      integrationCall(method, accessToken, body),
      IntegrationAnswer.refine(({ status }) => status === expected),
    );
  }

  return {
    exchangeCode: (code) => requestTokens({ grant_type: 'authorization_code', code }),

    refreshTokens: (refreshToken) => requestTokens({ grant_type: 'refresh_token', refresh_token: refreshToken }),

    async getAccountId(accessToken) {
      const { data } = await transport.json(apiCall('GET /v1/users/me', '/v1/users/me', accessToken), UserAnswer);
      return data.id;
    },

    announceLink: (accessToken, { accountIdentifier, nonce }) =>
      changeIntegration('POST', accessToken, { account_identifier: accountIdentifier, nonce }, 'awaiting'),

    completeLink: (accessToken, { accountIdentifier }) =>
      changeIntegration(
        'PATCH',
        accessToken,
        { account_identifier: accountIdentifier, status: 'completed' },
        'completed',
      ),

    // Ring's page documents PATCH with a status. It does not say whether a completed integration takes its status a second
    // time, so only the identifier is sent, and any form of a successful answer is taken.
    async changeIdentifier(accessToken, { accountIdentifier }) {
      const call = integrationCall('PATCH', accessToken, { account_identifier: accountIdentifier });
      await transport.succeed(call, () => undefined);
    },

    getDevices(accessToken) {
      const path = `/v1/devices?include=${DEVICE_INCLUDES}`;
      return transport.json(apiCall('GET /v1/devices', path, accessToken, { maxBytes: MAX_LIST_BYTES }), DevicesAnswer);
    },

    getDevice(accessToken, deviceId) {
      const path = `${devicePath(deviceId)}?include=${DEVICE_INCLUDES}`;
      return transport.json(
        apiCall('GET /v1/devices/{id}', path, accessToken, { maxBytes: MAX_LIST_BYTES }),
        DeviceAnswer,
      );
    },

    async getSubscriptions(accessToken) {
      const all: RingSubscription[] = [];
      let target = SUBSCRIPTIONS_PATH;
      for (let page = 0; page < MAX_PAGES; page++) {
        const call = apiCall(`GET ${SUBSCRIPTIONS_PATH}`, target, accessToken, { maxBytes: MAX_LIST_BYTES });
        const { data, links } = await transport.json(call, SubscriptionsAnswer);
        all.push(...data);
        if (data.length === 0 || links?.next == null) return all;
        target = ownUrl(call, links.next);
      }
      throw new RingError('malformed', `GET ${SUBSCRIPTIONS_PATH}`);
    },

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

    downloadImage: (accessToken, deviceId) =>
      downloadImage(transport, apiCall(DOWNLOAD_IMAGE, `${devicePath(deviceId)}/media/image/download`, accessToken)),
  };
}

const devicePath = (deviceId: string): string => `/v1/devices/${encodeURIComponent(deviceId)}`;

/** The URL of a link in an answer, if it leads to Ring: a bearer token must not go anywhere else. @throws {RingError} */
function ownUrl(call: Call, link: string): string {
  const url = URL.canParse(link, call.url) ? new URL(link, call.url) : undefined;
  if (url?.origin !== new URL(call.url).origin) throw new RingError('malformed', call.name, { status: 200 });
  return url.href;
}
