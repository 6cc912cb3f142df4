import { stopSharedPostgres } from './global-setup.js';

export default async function globalTeardown(): Promise<void> {
  await stopSharedPostgres();
}
