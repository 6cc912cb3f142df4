import type { Knex } from 'knex';
import type { EventOf, EventType } from '../ring/events.js';

/** An event of the types that come most. None of them decides what another one does, so that many share their statements. */
export type GatheredEvent = EventOf<'motion_detected' | 'button_press' | 'device_online' | 'device_offline'>;

export interface HandlerContext {
  /**
   * The transaction of everything that a handler does. Its effect, the mark that the event was applied, and the jobs for
   * slow work (any call to Ring) are committed together or not at all.
   */
  trx: Knex.Transaction;
  now: Date;
  /** The events that are still to be applied, together; see `applyGathered`. */
  gathered: GatheredEvent[];
}

/**
 * Applies an event of one type. Events of one Ring account come one at a time, in the order of arrival; only the end of the
 * integration overtakes the others.
 */
export type Handler<Type extends EventType> = (context: HandlerContext, event: EventOf<Type>) => Promise<void>;
