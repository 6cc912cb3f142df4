/**
 * Control over HTTP, for tests and scripts. JSON in, JSON out.
 *
 * | request | body or query | answer |
 * |---|---|---|
 * | `POST /control/users` | `{first_name?, last_name?, email?, phone_number?, account_id?, devices?: [{id?, name, online?, power?: "battery" \| "wired", image_url?, encryption?: "none" \| "account" \| "end-to-end", faulted?: ["flood_detection", …], capabilities?, configurations?, location?}]}`; null for what Ring doesn't know of a device | 201 the user `{id, account_id, attributes, devices}` |
 * | `GET /control/users` | | 200 list of users |
 * | `PATCH /control/devices` | `{user_id, device_id?}`, the first device unless given, and any of a device's fields as above but the id: they change, the others stay. `encryption`: `account` makes its media come back encrypted (200, and bytes that are no picture); `end-to-end` makes Ring hide it | 200 the device |
 * | `POST /control/codes` | `{user_id}` | 201 `{code, account_id}`: installs the app on all devices, sends nothing |
 * | `POST /control/installs` | `{user_id, send_as?: "form" \| "json" \| "query"}`, a form unless given | 201 `{account_id, callback: {status, body}, repeated?}`: installs and sends the callback. `callback` is null when a fault makes it late; its `status` is null when the app didn't answer; `repeated` is the second answer when a fault sent it twice |
 * | `GET /control/link-url` | `?user_id=` | 200 `{url, nonce, time}`, fresh; `time` in epoch ms |
 * | `GET /control/integrations` | | 200 list of `{user_id, account_id, status, account_identifier, device_ids}`, of users with the app |
 * | `DELETE /control/integrations` | `?user_id=&tokens=revoked\|good` | 204: the user removes the app. Ring revokes the tokens (the default); `good` leaves them, to be answered 404 |
 * | `POST /control/events` | `{user_id, effect?: boolean, deliver?: "normal" \| "twice" \| "dropped" \| "bad-signature", wait?: boolean}` and what `eventWishSchema` in events.ts knows; only `type` must be there | 201 `{request_id, event, body, signature, attempts: [{status}]}`: lets it happen at Ring (unless `effect` is false) and sends the webhook. Answers after the first attempt, or at once without `wait`; `status` is null when the app didn't answer |
 * | `POST /control/event-batches` | `{events: [as above], order?: "as-given" \| "reversed" \| "shuffled" \| "simultaneous"}` | 201 list of answers as above, as given: they happen in the order of the list, a millisecond apart, and are delivered in the other one |
 * | `GET /control/deliveries` | | 200 list of `{request_id, type, account_id, state, attempts: [{at, status, ms}]}`, oldest first, see deliveries.ts |
 * | `POST /control/dead-letters/replay` | | 200 `{replayed}`: how many were sent again; answers after the first attempt of each |
 * | `POST /control/recordings` | `{user_id, device_id?, kind?: "motion" \| "ding" \| "on_demand" \| "snapshot", sub_type?, start?, end?, ready_at?, condition?: "good" \| "corrupt"}`, times in epoch ms; a motion that begins now unless given. Before `ready_at` its download is 425, one that is corrupt is 422. A snapshot is one frame and not in history | 201 the recording: a device has recorded without a webhook, with a frame each second from `start` to `end` |
 * | `GET /control/recordings` | | 200 list of recordings, the oldest `start` first: what motions, presses and live views have left, and those of scripts |
 * | `GET /control/live-views` | | 200 list of `{session_id, account_id, device_id, started_at, state: "open" \| "closed" \| "expired"}`, oldest first |
 * | `POST /control/lives` | `{user_id?}`; a new user unless given | 200 `{user_id, steps: [{step, ok, detail}]}`: a whole life with the app, from installing to removing it, see scripted-life.ts |
 * | `PUT /control/faults` | a list of faults, see faults.ts; replaces the list | 204 |
 * | `PUT /control/settings` | any of `Settings` in state.ts, which says what each means; the others stay. `integrationBody: "flat" \| "json-api" \| "none"`, `automaticWebhooks: boolean`, `webhookSpeed`, `whepLocation: "absolute" \| "relative" \| "missing" \| "other-origin" \| "unreadable" \| "trailing-slash"`, `refreshAnswer: "new-pair" \| "without-refresh-token"`, `requestLimit: "told" \| "enforced"`, `defaultImageFormat: "png" \| "jpeg"`, `recordingMs`, `recordingReadyAfterMs`, `clipRedirect: 301 \| 303`, `clipMinBytes`, `devicesPageSize`, `historyPageSize`, `historyNext: "whole" \| "without-filter"`, `historyEmptyPage: boolean`, `historyStartOffMs`, `recordedToken: string \| null` | 204 |
 * | `GET /control/requests` | | 200 list of what Ring received, see `RecordedRequest` in request-log.ts |
 * | `DELETE /control` | | 204: back to the beginning: users, tokens, faults, settings, requests, webhooks, live views, recordings |
 *
 * Errors are `{error}`: 400 for what the schema refuses, 404 for an unknown user, 409 for what can't be done now.
 * Installing for a user who has the app already is removing and adding it: the old tokens die, the status is pending.
 * Events of a user without the app are sent all the same.
 */
import express, { Router } from 'express';
import { z } from 'zod';
import { newLifesUser, startLife } from '../life/scripted-life.js';
import {
  deliverInstallation,
  install,
  linkRedirect,
  SEND_AS,
  uninstall,
  USUALLY_SENT_AS,
} from '../outbound/installation.js';
import type { NewUser, RingUser } from '../state/accounts.js';
import type { Device } from '../state/devices.js';
import { changeDevice, deviceChangesSchema, newDevice, newDeviceSchema } from '../state/devices.js';
import { faultsSchema } from '../state/faults.js';
import { newRecordingSchema } from '../state/recordings.js';
import type { Simulation } from '../state/state.js';
import { reset, settingsSchema } from '../state/state.js';
import { answerControlError, ControlError, findUser } from './errors.js';
import { webhookControls } from './webhooks.js';

const text = z.string().min(1).max(200);
const newUser = z.strictObject({
  first_name: text.optional(),
  last_name: text.optional(),
  email: text.optional(),
  phone_number: text.optional(),
  account_id: text.optional(),
  devices: z
    .array(newDeviceSchema)
    .max(50)
    .default([{ name: 'Front Door' }, { name: 'Back Garden' }]),
});
const ofUser = z.strictObject({ user_id: z.string() });
const newLife = ofUser.partial();
const newInstall = ofUser.extend({ send_as: z.enum(SEND_AS).default(USUALLY_SENT_AS) });
const deviceChanges = deviceChangesSchema.extend({ user_id: z.string(), device_id: z.string().optional() });
const newRecording = newRecordingSchema.safeExtend({ user_id: z.string() });
const removal = ofUser.extend({ tokens: z.enum(['revoked', 'good']).default('revoked') });

export function controlRouter(simulation: Simulation): Router {
  const router = Router();
  router.use(express.json({ limit: '2mb' }));

  router.post('/users', (request, response) => {
    const { account_id, devices, ...attributes } = newUser.parse(request.body);
    const user = addUser(simulation, { account_id, attributes, devices: devices.map(newDevice) });
    response.status(201).json(userAnswer(user));
  });

  router.get('/users', (_request, response) => {
    response.json(simulation.state.accounts.all().map(userAnswer));
  });

  router.patch('/devices', (request, response) => {
    const { user_id, device_id, ...changes } = deviceChanges.parse(request.body);
    const device = findDevice(findUser(simulation, user_id), device_id);
    changeDevice(device, changes, simulation.now());
    response.json(device);
  });

  router.post('/recordings', (request, response) => {
    const { user_id, device_id, start = simulation.now(), ...wish } = newRecording.parse(request.body);
    const user = findUser(simulation, user_id);
    const { id } = findDevice(user, device_id);
    const { kind, sub_type, condition, end = start + simulation.state.settings.recordingMs, ready_at = start } = wish;
    const of = { account_id: user.account_id, device_id: id };
    response
      .status(201)
      .json(simulation.state.recordings.add({ ...of, kind, sub_type, start, end, ready_at, condition }));
  });

  router.get('/recordings', (_request, response) => {
    response.json(simulation.state.recordings.list());
  });

  router.post('/codes', (request, response) => {
    const user = findUser(simulation, ofUser.parse(request.body).user_id);
    const code = installOnAllDevices(simulation, user);
    response.status(201).json({ code, account_id: user.account_id });
  });

  router.post('/installs', async (request, response) => {
    const { user_id, send_as } = newInstall.parse(request.body);
    const user = findUser(simulation, user_id);
    const delivery = await deliverInstallation(simulation, user, installOnAllDevices(simulation, user), send_as);
    const [callback, repeated] = delivery.kind === 'late' ? [null] : delivery.answers;
    response.status(201).json({ account_id: user.account_id, callback, repeated });
  });

  router.get('/link-url', (request, response) => {
    const user = findUser(simulation, ofUser.parse(request.query).user_id);
    if (user.integration === null) throw new ControlError(409, 'this user has not installed the app');
    response.json(linkRedirect(simulation, user));
  });

  router.get('/integrations', (_request, response) => {
    response.json(simulation.state.accounts.all().flatMap(integrationAnswer));
  });

  router.delete('/integrations', (request, response) => {
    const { user_id, tokens } = removal.parse(request.query);
    uninstall(simulation, findUser(simulation, user_id), tokens);
    response.status(204).end();
  });

  router.put('/faults', (request, response) => {
    simulation.state.faults.replace(faultsSchema.parse(request.body));
    response.status(204).end();
  });

  router.put('/settings', (request, response) => {
    Object.assign(simulation.state.settings, settingsSchema.parse(request.body));
    response.status(204).end();
  });

  router.use(webhookControls(simulation));

  router.get('/live-views', (_request, response) => {
    response.json(simulation.state.liveViews.list());
  });

  router.post('/lives', async (request, response) => {
    const { user_id } = newLife.parse(request.body ?? {});
    const user = user_id === undefined ? addUser(simulation, newLifesUser()) : findUser(simulation, user_id);
    const { life, over } = startLife(simulation, user);
    await over;
    response.json({ user_id: life.user_id, steps: life.steps });
  });

  router.get('/requests', (_request, response) => {
    response.json(simulation.state.requests.list());
  });

  router.delete('/', (_request, response) => {
    reset(simulation);
    response.status(204).end();
  });

  router.use(() => {
    throw new ControlError(404, 'no such control');
  });
  router.use(answerControlError);
  return router;
}

function addUser(simulation: Simulation, user: NewUser): RingUser {
  const added = simulation.state.accounts.add(user);
  if (added.kind === 'refused') throw new ControlError(409, added.reason);
  return added.user;
}

/** The user's first device unless an ID is given. */
function findDevice({ devices }: RingUser, deviceId: string | undefined): Device {
  const device = deviceId === undefined ? devices[0] : devices.find(({ id }) => id === deviceId);
  if (device === undefined) throw new ControlError(404, 'this user has no such device');
  return device;
}

function installOnAllDevices(simulation: Simulation, user: RingUser): string {
  return install(
    simulation,
    user,
    user.devices.map((device) => device.id),
  );
}

function userAnswer({ id, account_id, attributes, devices }: RingUser): object {
  return { id, account_id, attributes, devices };
}

function integrationAnswer({ id, account_id, integration }: RingUser): object[] {
  if (integration === null) return [];
  const { status, account_identifier, device_ids } = integration;
  return [{ user_id: id, account_id, status, account_identifier, device_ids }];
}
