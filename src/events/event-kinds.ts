import { sql } from '../database/sql.js';

/** The kinds of events as people see them: in words, with an icon, and with the filter's word for all of a kind. */
export const EVENT_KINDS = {
  person: { text: 'A person was seen', filter: 'People', icon: 'person' },
  vehicle: { text: 'A vehicle was seen', filter: 'Vehicles', icon: 'car' },
  motion: { text: 'Motion', filter: 'Other motion', icon: 'motion' },
  doorbell: { text: 'Somebody rang the doorbell', filter: 'Doorbell', icon: 'bell' },
  offline: { text: 'Went offline', filter: 'Went offline', icon: 'problem' },
  online: { text: 'Came online', filter: 'Came online', icon: 'success' },
  added: { text: 'Added in the Ring app', filter: 'Added', icon: 'door' },
} as const;

export type EventKind = keyof typeof EVENT_KINDS;

/** SQL: the kind of a row of `device_events`. A subtype that Ring has added since counts as motion. */
export const KIND_OF_EVENT = sql`
  CASE type WHEN 'button_press' THEN 'doorbell'
            WHEN 'device_offline' THEN 'offline'
            WHEN 'device_online' THEN 'online'
            WHEN 'device_added' THEN 'added'
            ELSE CASE subtype WHEN 'human' THEN 'person' WHEN 'vehicle' THEN 'vehicle' ELSE 'motion' END END`;

const RECORDED: ReadonlySet<EventKind> = new Set(['person', 'vehicle', 'motion', 'doorbell']);

/** Whether a device records when it happens; so it is in Ring's history, too. */
export const isRecorded = (kind: EventKind): boolean => RECORDED.has(kind);
