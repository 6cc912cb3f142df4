import type { z } from 'zod';
import { HISTORY_FILTER, UserAnswer } from '../ring/client.js';
import {
  DEVICE_INCLUDES,
  DeviceAnswer,
  DeviceCapabilitiesAnswer,
  DeviceConfigurationsAnswer,
  DeviceLocationAnswer,
  DevicesAnswer,
  DeviceStatusAnswer,
} from '../ring/devices.js';
import type { Endpoint } from '../ring/endpoints.js';
import { HistoryAnswer } from '../ring/history.js';
import { pictureRequest } from '../ring/media.js';
import { SubscriptionsAnswer } from '../ring/subscriptions.js';

/** Something that can be read at Ring. */
export interface Question<Parsed> {
  /** How the report names it; without anybody's ID. */
  asked: string;
  endpoint: Endpoint;
  /** A path at Ring, or the whole address of a further page. */
  target: string;
  schema: z.ZodType<Parsed>;
  /** What a record of the answer is named. */
  record: string;
  /** The statuses with which Ring says that it does not offer this to the token. */
  notOffered?: readonly number[];
}

const DEVICES = `/v1/devices?include=${DEVICE_INCLUDES}`;

export const devicesQuestion: Question<z.output<typeof DevicesAnswer>> = {
  asked: `GET ${DEVICES}`,
  endpoint: 'GET /v1/devices',
  target: DEVICES,
  schema: DevicesAnswer,
  record: 'devices',
};

export const userQuestion: Question<unknown> = {
  asked: 'GET /v1/users/me',
  endpoint: 'GET /v1/users/me',
  target: '/v1/users/me',
  schema: UserAnswer,
  record: 'user',
};

export const subscriptionsQuestion: Question<z.output<typeof SubscriptionsAnswer>> = {
  asked: 'GET /v1/accounts/me/subscriptions',
  endpoint: 'GET /v1/accounts/me/subscriptions',
  target: '/v1/accounts/me/subscriptions',
  schema: SubscriptionsAnswer,
  record: 'subscriptions',
  notOffered: [403, 404, 422],
};

const PARTS = {
  status: DeviceStatusAnswer,
  capabilities: DeviceCapabilitiesAnswer,
  location: DeviceLocationAnswer,
  configurations: DeviceConfigurationsAnswer,
};

/** A device alone, and each of its parts. @param number counts the devices from 1 */
export function deviceQuestions(deviceId: string, number: number): Question<unknown>[] {
  const path = `/v1/devices/${encodeURIComponent(deviceId)}`;
  const whole: Question<unknown> = {
    asked: `GET /v1/devices/{id}?include=${DEVICE_INCLUDES}`,
    endpoint: 'GET /v1/devices/{id}',
    target: `${path}?include=${DEVICE_INCLUDES}`,
    schema: DeviceAnswer,
    record: `device-${number}`,
  };
  const parts = Object.entries(PARTS).map(([part, schema]): Question<unknown> => ({
    asked: `GET /v1/devices/{id}/${part}`,
    // The service itself asks for the status alone. Names of endpoints are for its metrics, which nobody keeps here.
    endpoint: 'GET /v1/devices/{id}/status',
    target: `${path}/${part}`,
    schema,
    record: `device-${number}-${part}`,
  }));
  return [whole, ...parts];
}

/** Every filter that Ring documents, and those that we use together. */
const HISTORY_FILTERS = [
  undefined,
  HISTORY_FILTER,
  'motion',
  'ding',
  'on_demand',
  'motion.human',
  'motion.vehicle',
  'motion.animal',
  'motion.other_motion',
];

/** A device's history, unfiltered and by each filter. */
export function historyQuestions(deviceId: string, number: number): Question<z.output<typeof HistoryAnswer>>[] {
  return HISTORY_FILTERS.map((filter) => {
    const query = filter === undefined ? '' : `?event_types=${filter}`;
    return {
      asked: `GET /v1/history/devices/{id}/events${query}`,
      endpoint: 'GET /v1/history/devices/{id}/events',
      target: `/v1/history/devices/${encodeURIComponent(deviceId)}/events${query}`,
      schema: HistoryAnswer,
      record: `device-${number}-history${filter === undefined ? '' : `-${filter.replace(/\W+/g, '-')}`}`,
    };
  });
}

/** A request for a picture. */
export interface PictureQuestion {
  asked: string;
  target: string;
  body: string | undefined;
  record: string;
  /** The codes that answer it: our request was read, and there is no such picture for us. */
  answers: readonly string[];
}

const NO_SUCH_PICTURE = ['MEDIA_NOT_FOUND', 'RECORDING_NOT_READY', 'CORRUPT_RECORDING'];
const LONG_AGO_MS = 179 * 86_400_000;

/** Pictures of a time after the consent, of one before it, and of none. @param now epoch ms by Ring's clock */
export function pictureQuestions(deviceId: string, number: number, now: number): PictureQuestion[] {
  const target = `/v1/devices/${encodeURIComponent(deviceId)}/media/image/download`;
  const question = (what: string, record: string, body: string | undefined, answers: readonly string[]) => ({
    asked: `POST /v1/devices/{id}/media/image/download, ${what}`,
    target,
    body,
    record: `device-${number}-picture-${record}`,
    answers,
  });
  const lastMinute = pictureRequest({ type: 'latest_in_range', start: new Date(now - 60_000) });
  const longAgo = pictureRequest({ type: 'at_timestamp', timestamp: new Date(now - LONG_AGO_MS) });
  return [
    question('of the last minute', 'of-the-last-minute', lastMinute, NO_SUCH_PICTURE),
    // That is before the consent, unless the link is old.
    question('of 179 days ago', 'of-long-ago', longAgo, [...NO_SUCH_PICTURE, 'TIME_RANGE_NOT_AUTHORIZED']),
    question('without a body', 'without-body', undefined, ['REQUEST_FORBIDDEN', 'INVALID_PAYLOAD']),
  ];
}
