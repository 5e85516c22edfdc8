/**
 * A map from inode identity (device, inode number) to a value. Two levels, so that no key is built
 * for a lookup; a recording meets very few devices, and the last one is remembered.
 */

/** Values by (dev, ino). */
export class InodeMap<V> {
  #devices = new Map<number, Map<number, V>>();
  #lastDev = -1;
  #last = new Map<number, V>();

  #device(dev: number): Map<number, V> | undefined {
    if (dev === this.#lastDev) return this.#last;
    const found = this.#devices.get(dev);
    if (found) {
      this.#lastDev = dev;
      this.#last = found;
    }
    return found;
  }

  get(dev: number, ino: number): V | undefined {
    return this.#device(dev)?.get(ino);
  }

  set(dev: number, ino: number, value: V): void {
    const found = this.#device(dev);
    if (found) {
      found.set(ino, value);
      return;
    }
    const fresh = new Map<number, V>([[ino, value]]);
    this.#devices.set(dev, fresh);
    this.#lastDev = dev;
    this.#last = fresh;
  }

  delete(dev: number, ino: number): void {
    this.#device(dev)?.delete(ino);
  }
}
