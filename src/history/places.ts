/**
 * Where events happened: folds the names of a trace through the Tree and says the path of each event, as it was when it
 * happened. Only operations on names change the model here; paths of nodes are kept until a name on the way changes, so
 * that a million writes to one file cost one path. A file that lost its last name keeps the path it had.
 */
import type { EventCursor } from "../format/event_codec.ts";
import { Op, type TraceEvent } from "../format/trace_event.ts";
import { Tree } from "../resolve/tree.ts";

/** A place in the watched folders; the path is a binary string, "" for the watched folder itself. */
export interface EventPlace {
  /** Index of the watched folder, -1: the event has no place in one. */
  root: number;
  path: string | undefined;
  /** The new name of RENAME, in the watched folder `toRoot`. */
  to?: string;
  toRoot?: number;
  /** Of LINK: the name that the file had, in the watched folder `ofRoot`. */
  of?: string;
  ofRoot?: number;
  /** The file has no name any more; the path is its last. */
  unlinked: boolean;
}

const NOWHERE: EventPlace = { root: -1, path: undefined, unlinked: false };

const NAME_OPS: ReadonlySet<number> = new Set([
  Op.CREATE,
  Op.RENAME,
  Op.UNLINK,
  Op.MKDIR,
  Op.RMDIR,
  Op.SYMLINK,
  Op.LINK,
  Op.MKNOD,
  Op.BASELINE,
]);

/** What of a keyframe makes nodes and names. */
const KEYFRAME_OPS: ReadonlySet<number> = new Set([Op.BASELINE, Op.LINK]);

/** Whether the operation changes names, so that it must be folded even where nobody wants to see it. */
export function changesNames(op: number): boolean {
  return NAME_OPS.has(op);
}

/** See the head of the file. */
export class Places {
  readonly #tree = new Tree();
  #known: (EventPlace | undefined)[] = [];
  readonly #lastPaths = new Map<number, EventPlace>();

  /** Folds a baseline batch. Returns how many GAPs are in it: what could not be read at the start. */
  foldBaseline(cursor: EventCursor): number {
    let gaps = 0;
    while (cursor.next()) {
      if (cursor.op === Op.GAP) gaps++;
      const event = cursor.event();
      this.#tree.apply(event);
      this.#recall(event);
    }
    return gaps;
  }

  /** Paths of all that lies below a folder now, from there. */
  *below(node: number): Generator<string> {
    if (this.#tree.node(node)?.isDir !== true) return;
    for (const { path } of this.#tree.walk(node)) if (path !== "") yield path;
  }

  /** The last place of a node that has no name any more; undefined: it has one, or never had. */
  lastPlace(node: number): EventPlace | undefined {
    return this.#lastPaths.get(node);
  }

  /** Folds a part of a keyframe. */
  foldKeyframe(cursor: EventCursor): void {
    while (cursor.next()) {
      if (!KEYFRAME_OPS.has(cursor.op)) continue;
      const event = cursor.event();
      this.#tree.apply(event);
      this.#recall(event);
    }
  }

  /** A node that had lost its name when the state was stored: the name it had. */
  #recall({ op, node, path, victim = 0 }: TraceEvent): void {
    if (op !== Op.BASELINE || path === undefined) return;
    this.#lastPaths.set(node, { root: victim - 1, path, unlinked: true });
  }

  /** The place of a node now. */
  ofNode(node: number): EventPlace {
    const known = this.#known[node];
    if (known !== undefined) return known;
    const path = this.#tree.path(node);
    const place = path === undefined
      ? this.#lastPaths.get(node) ?? NOWHERE
      : { root: this.#tree.rootOf(node), path, unlinked: false };
    if (node < this.#known.length + KNOWN_STEP_MAX) this.#known[node] = place;
    return place;
  }

  /** Folds an event on names and gives its place, with names as they were before it. */
  fold(event: TraceEvent): EventPlace {
    const { op, node, parent = 0, name = "", toParent = 0, toName = "", victim = 0 } = event;
    let place = this.#ofName(parent, name);
    if (op === Op.RENAME && toParent !== 0) {
      const to = this.#ofName(toParent, toName);
      const root = place.root >= 0 ? place.root : to.root;
      place = { ...place, root, to: to.path, toRoot: to.root };
    }
    if (op === Op.LINK) {
      const known = this.ofNode(node);
      place = { ...place, of: known.unlinked ? undefined : known.path, ofRoot: known.root };
    }
    const lost = op === Op.RENAME ? this.#ofName(toParent, toName) : place;
    const isFolder = this.#tree.node(node)?.isDir === true;
    this.#tree.apply(event);
    this.#recall(event);
    if (op === Op.RENAME && (isFolder || this.#tree.node(victim)?.isDir === true)) this.#known = [];
    for (const id of [node, victim]) {
      if (id === 0) continue;
      this.#known[id] = undefined;
      this.#remember(id, id === victim ? lost : place);
    }
    return place;
  }

  /** Keeps the last path of a node that has no name any more. */
  #remember(node: number, place: EventPlace): void {
    if (this.#tree.path(node) !== undefined) this.#lastPaths.delete(node);
    else if (place.path !== undefined) {
      this.#lastPaths.set(node, { root: place.root, path: place.path, unlinked: true });
    }
  }

  #ofName(parent: number, name: string): EventPlace {
    if (parent === 0) return NOWHERE;
    const dir = this.ofNode(parent);
    if (dir.path === undefined) return NOWHERE;
    return {
      root: dir.root,
      path: dir.path === "" ? name : `${dir.path}/${name}`,
      unlinked: false,
    };
  }
}

/** A damaged trace may name a node far beyond all others: its place is not kept. */
const KNOWN_STEP_MAX = 1_000_000;
