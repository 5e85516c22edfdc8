/**
 * Nodes of a large baseline that stay what they are in the trace: events in batches (left_file.ts), instead of an object with two map
 * entries for each. Only plain files (one name, no attributes) that nobody has asked about are here; the Tree makes a Node of one
 * when somebody does, and takes it out. Batches are taken as they are; who asks first pays for the index: by node, by folder
 * (chains), and by inode (open addressing, at most half full; nodes that were taken out no longer match).
 */
import { assert } from "../base/assert.ts";
import { leftFile, leftState, LeftStateWord, LeftWord } from "../format/left_file.ts";
import { Node } from "./node.ts";

/** A place is the number of a batch and a word in it. */
const PLACE_WORDS = 1 << 19;
const BATCHES_MAX = 1 << 13;
const NODES_MIN = 1024;
const SLOT_WORDS = 2;
const TWO_32 = 0x1_0000_0000;

/** What the Tree knows beside the packed nodes. */
interface Known {
  /** A node that is not packed although its event is in a batch. */
  hasNode(id: number): boolean;
  hasInode(dev: number, ino: number): boolean;
}

/** See the head of the file. */
export class PackedNodes {
  readonly #batches: Uint32Array[] = [];
  /** Batches that are in the index. */
  #indexed = 0;
  /** By node id: place + 1; 0: there is none. */
  #places = new Uint32Array(NODES_MIN);
  /** By node id: 1: taken out. */
  #out = new Uint8Array(NODES_MIN);
  /** By node id: the next of the same folder, the first of a folder; 0: none. */
  #next = new Uint32Array(NODES_MIN);
  #first = new Uint32Array(NODES_MIN);
  /** Two words a slot: node id (0: free), low word of the inode number. */
  #slots = new Uint32Array(NODES_MIN * SLOT_WORDS);
  #mask = NODES_MIN - 1;
  #end = 1;

  /** One more than the largest id that was ever here. */
  get end(): number {
    return this.#end;
  }

  /** Takes events of plain files among others. The words must not change any more. @param end one more than the largest id in them. */
  add(batch: Uint32Array, end: number): void {
    assert(batch.length <= PLACE_WORDS, "a batch of packed nodes has its usual size");
    assert(this.#batches.length < BATCHES_MAX, "there are not too many batches of packed nodes");
    this.#batches.push(batch);
    this.#end = Math.max(this.#end, end);
  }

  /** Whether nothing should be added any more. */
  get isFull(): boolean {
    return this.#batches.length + 1 >= BATCHES_MAX;
  }

  /** Whether nothing was added since `index`. */
  get isIndexed(): boolean {
    return this.#indexed === this.#batches.length;
  }

  /**
   * Brings the index up to date. Returns nodes that must not stay packed, in the order of the batches: they share an inode with
   * another (it was renamed while the folders were scanned, or its number was used again).
   */
  index(known: Known): number[] {
    this.#places = widen(this.#places, this.#end);
    this.#out = widenBytes(this.#out, this.#places.length);
    this.#next = widen(this.#next, this.#end);
    this.#first = widen(this.#first, this.#end);
    if (this.#end * 2 > this.#mask) this.#grow();
    const twins: number[] = [];
    for (; this.#indexed < this.#batches.length; this.#indexed++) {
      const batch = this.#batches[this.#indexed] as Uint32Array;
      for (let at = 0; at < batch.length; at += (batch[at] as number) >>> 2) {
        const state = leftState(batch, at);
        if (state === 0 || known.hasNode(batch[at + LeftWord.NODE] as number)) continue;
        this.#hang(batch, at);
        this.#identify(batch, { at, state }, known, twins);
      }
    }
    return twins;
  }

  /** Puts a node into the chain of its folder. */
  #hang(batch: Uint32Array, at: number): void {
    const id = batch[at + LeftWord.NODE] as number;
    assert(id < this.#end && this.#places[id] === 0, "a packed node is new");
    const parent = batch[at + LeftWord.PARENT] as number;
    this.#places[id] = this.#indexed * PLACE_WORDS + at + 1;
    this.#next[id] = this.#first[parent] as number;
    this.#first[parent] = id;
  }

  /** Makes a node known by its inode, or a twin. */
  #identify(
    batch: Uint32Array,
    where: { at: number; state: number },
    known: Known,
    twins: number[],
  ): void {
    const id = batch[where.at + LeftWord.NODE] as number;
    const dev = batch[where.state + LeftStateWord.DEV] as number;
    const low = batch[where.state + LeftStateWord.INO] as number;
    const high = batch[where.state + LeftStateWord.INO + 1] as number;
    const twin = this.find(dev, low, high);
    if (twin !== 0) twins.push(twin, id);
    else if (known.hasInode(dev, low + high * TWO_32)) twins.push(id);
    else this.#enter(id, low);
  }

  has(id: number): boolean {
    return id < this.#places.length && this.#places[id] !== 0 && this.#out[id] === 0;
  }

  /** The node of an inode, 0: none. */
  find(dev: number, inoLow: number, inoHigh: number): number {
    const slots = this.#slots;
    for (let slot = hash(inoLow) & this.#mask;; slot = (slot + 1) & this.#mask) {
      const id = slots[slot * SLOT_WORDS] as number;
      if (id === 0) return 0;
      if (slots[slot * SLOT_WORDS + 1] !== inoLow || this.#out[id] !== 0) continue;
      const { batch, at } = this.#at(id);
      const state = leftState(batch, at);
      if (batch[state + LeftStateWord.INO + 1] !== inoHigh) continue;
      if (batch[state + LeftStateWord.DEV] === dev) return id;
    }
  }

  /** Makes a node and takes it out. It has its identity, but is not bound to it. */
  takeOut(id: number): Node {
    assert(this.has(id), "a packed node is taken out once");
    const { batch, at } = this.#at(id);
    const attr = leftFile.attr(batch, at);
    const node = new Node(id);
    node.setAttr(attr);
    node.dev = attr.dev;
    node.gen = attr.gen;
    node.ino = attr.ino;
    node.parent = batch[at + LeftWord.PARENT] as number;
    node.name = leftFile.name(batch, at);
    node.setMtime(leftFile.mtime(batch, at));
    this.#out[id] = 1;
    return node;
  }

  /** The size that a node came with, also if it was taken out; undefined: it was never here. */
  size(id: number): number | undefined {
    if (id >= this.#places.length || this.#places[id] === 0) return undefined;
    const { batch, at } = this.#at(id);
    return leftFile.size(batch, at);
  }

  /** Puts what is here of a folder into its map of names, once. */
  unfold(folder: number, into: Map<string, number>): void {
    const ids: number[] = [];
    for (let id = this.#first[folder] ?? 0; id !== 0; id = this.#next[id] as number) ids.push(id);
    this.#first[folder] = 0;
    for (const id of ids.reverse()) {
      const { batch, at } = this.#at(id);
      const name = leftFile.name(batch, at);
      assert(!into.has(name), "a packed name is in its folder once");
      into.set(name, id);
    }
  }

  #at(id: number): { batch: Uint32Array; at: number } {
    const place = (this.#places[id] as number) - 1;
    const batch = this.#batches[Math.floor(place / PLACE_WORDS)];
    assert(batch !== undefined, "a packed node stands in a batch");
    return { batch, at: place % PLACE_WORDS };
  }

  #enter(id: number, inoLow: number): void {
    const slots = this.#slots;
    let slot = hash(inoLow) & this.#mask;
    while (slots[slot * SLOT_WORDS] !== 0) slot = (slot + 1) & this.#mask;
    slots[slot * SLOT_WORDS] = id;
    slots[slot * SLOT_WORDS + 1] = inoLow;
  }

  /** Makes room for all ids that there are: half of the slots stay free. */
  #grow(): void {
    const old = this.#slots;
    let count = this.#mask + 1;
    while (count <= this.#end * 2) count *= 2;
    this.#slots = new Uint32Array(count * SLOT_WORDS);
    this.#mask = count - 1;
    for (let at = 0; at < old.length; at += SLOT_WORDS) {
      if (old[at] !== 0) this.#enter(old[at] as number, old[at + 1] as number);
    }
  }
}

type Words = Uint32Array<ArrayBuffer>;

function widen(old: Words, count: number): Words {
  if (count <= old.length) return old;
  const grown = new Uint32Array(Math.max(count, old.length * 2));
  grown.set(old);
  return grown;
}

function widenBytes(old: Uint8Array<ArrayBuffer>, count: number): Uint8Array<ArrayBuffer> {
  if (count <= old.length) return old;
  const grown = new Uint8Array(count);
  grown.set(old);
  return grown;
}

/** Inode numbers of a folder are mostly neighbours: sixteen of them stay together, which is kind to the processor's cache. */
function hash(inoLow: number): number {
  return (Math.imul(inoLow >>> 4, 0x9e37_79b1) >>> 3) & ~15 | inoLow & 15;
}
