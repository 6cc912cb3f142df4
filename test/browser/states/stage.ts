import type { Visitor } from '../../support/clients/visitor.js';
import { type Owner, sharing } from '../../support/features/devices.js';
import { untilProcessed } from '../../support/features/inbox.js';
import { linked, signedIn } from '../../support/features/linking.js';
import { startWorld, type World } from '../../support/worlds/world.js';
import { eventful, eventless, household } from './people.js';

/** The world in which every state is shown. Many states share its people, because none of them changes anything. */
export class Stage {
  readonly #linked = new Map<string, Promise<Visitor>>();
  #newcomer: Promise<Visitor> | undefined;
  #quiet: Promise<Owner> | undefined;
  #eventful: Promise<Owner> | undefined;

  private constructor(readonly world: World) {}

  static async open(): Promise<Stage> {
    return new Stage(await startWorld({ patienceMs: 100 }));
  }

  /** A user who is signed in and has linked nothing. */
  newcomer(): Promise<Visitor> {
    return (this.#newcomer ??= signedIn(this.world));
  }

  /** A user with one device, of which there are no events. */
  quiet(): Promise<Owner> {
    return (this.#quiet ??= sharing(this.world).then((owner) => eventless(this.world, owner)));
  }

  /** A user with devices of all names, and events of all kinds. */
  eventful(): Promise<Owner> {
    return (this.#eventful ??= household(this.world).then((owner) => eventful(this.world, owner)));
  }

  /** A user whose link is in this state. */
  linkedWith(assignment: string, devices = [{ name: 'Front Door' }]): Promise<Visitor> {
    const key = JSON.stringify([assignment, devices]);
    const known = this.#linked.get(key) ?? this.#newlyLinked(assignment, devices);
    this.#linked.set(key, known);
    return known;
  }

  async #newlyLinked(assignment: string, devices: { name: string }[]): Promise<Visitor> {
    const { visitor, ringUser } = await linked(this.world, await this.world.ring.createUser({ devices }));
    await untilProcessed(this.world, ringUser);
    await this.world.sql(`UPDATE account_links SET ${assignment} WHERE account_id = $1`, [ringUser.account_id]);
    return visitor;
  }

  close(): Promise<void> {
    return this.world.stop();
  }
}
