import { pathOfDevice } from './device-view.js';

/** The address of the page that shows a picture. */
export const pathOfPicture = (deviceId: string, pictureId: string): string =>
  `${pathOfDevice(deviceId)}/snapshots/${pictureId}/view`;

/** The address that the picture of an event is asked for at, and where what came of it is told. */
export const pathOfEventPicture = (deviceId: string, eventId: string): string =>
  `${pathOfDevice(deviceId)}/events/${eventId}/snapshot`;
