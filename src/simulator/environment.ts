import { z } from 'zod';
import { NO_APP, type SimulatorOptions } from './simulator.js';

/** The last port is excluded, because the media host takes the one after this. */
const isPort = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) <= 65_534;
const port = z.string().refine(isPort, 'expected a port number, 0 to 65534').transform(Number);
const url = z.url({ protocol: /^https?$/, error: 'expected a URL that begins with http:// or https://' });
const secret = z.string({ error: 'expected a text that is not empty' });

const environment = z.object({
  PORT: port.default(3001),
  HOST: z.string().default('0.0.0.0'),
  PUBLIC_URL: url.optional(),
  APP_PUBLIC_URL: url,
  APP_INTERNAL_URL: url.optional(),
  RING_CLIENT_ID: secret,
  RING_CLIENT_SECRET: secret,
  RING_HMAC_KEY: secret,
  RECORDED_TOKEN: secret.optional(),
});

/** A Ring of recorded answers has no app. */
const WITHOUT_APP = {
  APP_PUBLIC_URL: NO_APP.app.publicUrl,
  RING_CLIENT_ID: NO_APP.clientId,
  RING_CLIENT_SECRET: NO_APP.clientSecret,
  RING_HMAC_KEY: NO_APP.hmacKey,
};

export type EnvironmentReading =
  | { kind: 'good'; options: SimulatorOptions }
  /** One line for each bad variable. No line repeats a value. */
  | { kind: 'bad'; problems: string[] };

/** Reads the options of a simulator that is its own process. An empty variable counts as unset. */
export function readEnvironment(variables: NodeJS.ProcessEnv): EnvironmentReading {
  const given = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''));
  const parsed = environment.safeParse({ ...(given.RECORDED_TOKEN !== undefined && WITHOUT_APP), ...given });
  if (!parsed.success) {
    return { kind: 'bad', problems: parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) };
  }
  const { PORT, HOST, PUBLIC_URL, APP_PUBLIC_URL, APP_INTERNAL_URL, RECORDED_TOKEN, ...ring } = parsed.data;
  return {
    kind: 'good',
    options: {
      port: PORT,
      host: HOST,
      ...(PUBLIC_URL !== undefined && { publicUrl: PUBLIC_URL }),
      clientId: ring.RING_CLIENT_ID,
      clientSecret: ring.RING_CLIENT_SECRET,
      hmacKey: ring.RING_HMAC_KEY,
      ...(RECORDED_TOKEN !== undefined && { recordedToken: RECORDED_TOKEN }),
      app: { publicUrl: APP_PUBLIC_URL, ...(APP_INTERNAL_URL !== undefined && { internalUrl: APP_INTERNAL_URL }) },
    },
  };
}
