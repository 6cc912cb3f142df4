import { sql } from '../database/sql.js';

/** The kinds of events as people see them: in words, with an icon, and with the filter's word for all of a kind. */
export const EVENT_KINDS = {
  person: { text: 'A person was seen', filter: 'People', icon: 'person' },
  vehicle: { text: 'A vehicle was seen', filter: 'Vehicles', icon: 'car' },
  motion: { text: 'Motion', filter: 'Other motion', icon: 'motion' },
  doorbell: { text: 'Somebody rang the doorbell', filter: 'Doorbell', icon: 'bell' },
  opened: { text: 'Opened', filter: 'Opened', icon: 'door' },
  closed: { text: 'Reported closed', filter: 'Reported closed', icon: 'door' },
  water: { text: 'Water was detected', filter: 'Water', icon: 'drop' },
  'water-ended': { text: 'Water is no longer reported', filter: 'Water no longer reported', icon: 'drop' },
  freeze: { text: 'A freezing temperature was detected', filter: 'Freezing temperature', icon: 'freeze' },
  'freeze-ended': {
    text: 'A freezing temperature is no longer reported',
    filter: 'Freezing no longer reported',
    icon: 'freeze',
  },
  tamper: { text: 'Tampering was detected', filter: 'Tampering', icon: 'problem' },
  'tamper-ended': { text: 'Tampering is no longer reported', filter: 'Tampering no longer reported', icon: 'ended' },
  offline: { text: 'Went offline', filter: 'Went offline', icon: 'problem' },
  online: { text: 'Came online', filter: 'Came online', icon: 'success' },
  added: { text: 'Added in the Ring app', filter: 'Added', icon: 'door' },
} as const;

export type EventKind = keyof typeof EVENT_KINDS;

/** SQL: the kind of a row of `device_events`. A subtype that Ring has added since counts as motion. */
export const KIND_OF_EVENT = sql`
  CASE type WHEN 'button_press' THEN 'doorbell'
            WHEN 'contact_sensor_faulted' THEN 'opened'
            WHEN 'contact_sensor_cleared' THEN 'closed'
            WHEN 'flood_detected' THEN 'water'
            WHEN 'flood_cleared' THEN 'water-ended'
            WHEN 'freeze_detected' THEN 'freeze'
            WHEN 'freeze_cleared' THEN 'freeze-ended'
            WHEN 'tamper_detected' THEN 'tamper'
            WHEN 'tamper_cleared' THEN 'tamper-ended'
            WHEN 'device_offline' THEN 'offline'
            WHEN 'device_online' THEN 'online'
            WHEN 'device_added' THEN 'added'
            ELSE CASE subtype WHEN 'human' THEN 'person' WHEN 'vehicle' THEN 'vehicle' ELSE 'motion' END END`;

const RECORDED: ReadonlySet<EventKind> = new Set(['person', 'vehicle', 'motion', 'doorbell']);

/** Whether a device records when it happens; so it is in Ring's history, too. */
export const isRecorded = (kind: EventKind): boolean => RECORDED.has(kind);
