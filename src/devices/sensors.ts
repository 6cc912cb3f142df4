import { type Capabilities, type Sensor, SENSORS } from '../ring/devices.js';

/** What Ring has told of a sensor, as it is stored. Times are ISO 8601 in UTC. */
export interface SensorState {
  /** Open, wet, cold or tampered with. */
  faulted: boolean;
  /** The time of the newest word. */
  at: string;
  /** Since when it is so; null if no event has told. */
  since: string | null;
  /** The time of the newest word that said otherwise. */
  contrary_at: string | null;
}

export type SensorStates = Partial<Record<Sensor, SensorState>>;

/** Sensors of a device that we know of. */
export interface WithSensors {
  capabilities: Capabilities | null;
  sensors: SensorStates | null;
}

/** The sensors of a device, by what Ring can tell of it and by what it has told. */
export const sensorsOf = ({ capabilities, sensors }: WithSensors): Sensor[] =>
  SENSORS.filter((sensor) => sensors?.[sensor] !== undefined || capabilities?.[`${sensor}_detection`] !== undefined);
