import { z } from 'zod';
import type { Recurrence } from './schedule-rows.js';

/** An earlier try, as the form shows it again: what was entered, and what is wrong with it. */
export interface ScheduleDraft {
  timeOfDay: string;
  timeZone: string;
  error: { field?: 'time' | 'zone'; message: string } | null;
}

export const TIME_ZONES: readonly string[] = ['UTC', ...Intl.supportedValuesOf('timeZone')];

/** The fields as they were sent: hostile until here, strings of a known size from here on. */
const Form = z.object({
  frequency: z.string().catch(''),
  time_of_day: z.string().max(100).catch(''),
  time_zone: z.string().max(100).catch(''),
});

export const UNKNOWN_TIME_ZONE = 'Choose a time zone from the list.';

/** Reads a sent form: how often pictures are wanted, or what to show beside which field. */
export function readScheduleForm(
  body: unknown,
): { recurrence: Recurrence; draft: ScheduleDraft } | { draft: ScheduleDraft } {
  const { frequency, time_of_day: timeOfDay, time_zone: timeZone } = Form.parse(body);
  const draft: ScheduleDraft = { timeOfDay, timeZone, error: null };
  switch (frequency) {
    case 'HOURLY':
      return { recurrence: { frequency }, draft };
    case 'DAILY':
      if (!isTimeOfDay(timeOfDay)) {
        return {
          draft: { ...draft, error: { field: 'time', message: 'Enter a time from 00:00 to 23:59, like 07:30.' } },
        };
      }
      if (!isTimeZone(timeZone)) return { draft: { ...draft, error: { field: 'zone', message: UNKNOWN_TIME_ZONE } } };
      return { recurrence: { frequency, timeOfDay, timeZone }, draft };
    default:
      return { draft: { ...draft, error: { message: 'Choose how often the latest picture is fetched.' } } };
  }
}

const isTimeOfDay = (text: string): boolean => /^([01]\d|2[0-3]):[0-5]\d$/.test(text);

/**
 * Whether a text names a time zone of the IANA database by area and place. Offsets and abbreviations are refused: Postgres
 * takes `+02:00` for two hours west of Greenwich, `IST` for Israel and `CET` for winter all year.
 */
function isTimeZone(text: string): boolean {
  if (!/^(UTC|[A-Za-z]\w*(\/[\w+-]+)+)$/.test(text)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return true;
  } catch {
    return false;
  }
}
