import { sql } from '../database/sql.js';

/** The events at which a device records: they are in Ring's history, too, and have pictures and clips. */
export const RECORDED_TYPES = ['motion_detected', 'button_press'] as const;
export type RecordedType = (typeof RECORDED_TYPES)[number];

/** SQL: a row of `device_events` is such an event. */
export const IS_RECORDED = sql`type IN ('motion_detected', 'button_press')`;
