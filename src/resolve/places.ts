/**
 * Where a path leads: from the folder a system call started at, through the names the tree knows,
 * to a folder of the tree and a last name. Outside the watched folders only path strings exist; a
 * path may leave them and come back. Knows the inodes that are not in the tree: folders outside
 * (bases of relative paths) and announced inodes whose creation has not been seen yet.
 */
import type { KernelInode, NodeRecord } from "../format/kernel_decode.ts";
import { PATH_STEPS_MAX, SYMLINK_HOPS_MAX } from "./bounds.ts";
import { InodeMap } from "./inode_map.ts";
import type { ResolverOptions } from "./sink.ts";
import type { Tree } from "./tree.ts";

/**
 * FOUND: `dir` and `name` say where, `node` what is there now (0 nothing); a path that names a
 * folder itself ("." or a root) has `node` alone. OUTSIDE: not in the watched folders, or left out.
 * MISSING: a folder on the way is not known (yet). UNKNOWN: cannot be told from here (/proc).
 */
export type PlaceStatus = "found" | "outside" | "missing" | "unknown";

/** The answer. */
export interface Place {
  status: PlaceStatus;
  dir: number;
  name: string;
  node: number;
  /** Absolute path, when it could be told. */
  abs: string | undefined;
}

/** An inode announced in a watched folder that the tree does not know. */
export interface Announced {
  record: NodeRecord;
  deleted: boolean;
}

interface Walk {
  /** Folder reached; 0: outside, at `out`. */
  dir: number;
  out: string;
  rest: string[];
  hops: number;
  follow: boolean;
}

function join(dir: string, name: string): string {
  return dir === "/" ? `/${name}` : `${dir}/${name}`;
}

function dirname(path: string): string {
  const cut = path.lastIndexOf("/");
  return cut <= 0 ? "/" : path.slice(0, cut);
}

/** The last name of a path, as the kernel sees it; "" for a path without one. */
export function lastName(path: string): string {
  let end = path.length;
  while (end > 0 && path[end - 1] === "/") end--;
  return path.slice(path.lastIndexOf("/", end - 1) + 1, end);
}

function pushParts(rest: string[], path: string): void {
  const parts = path.split("/");
  for (let i = parts.length - 1; i >= 0; i--) {
    const part = parts[i] as string;
    if (part !== "" && part !== ".") rest.push(part);
  }
}

/** Resolves paths against a tree. */
export class Places {
  readonly announced = new InodeMap<Announced>();
  readonly #tree: Tree;
  readonly #options: ResolverOptions;
  readonly #rootAt = new Map<string, number>();
  readonly #outside = new InodeMap<{ gen: number; path: string }>();

  constructor(tree: Tree, options: ResolverOptions) {
    this.#tree = tree;
    this.#options = options;
    for (const root of options.roots) this.#rootAt.set(root.path, root.node);
  }

  /** A folder outside the watched folders. */
  learnOutside(inode: { dev: number; ino: number; gen: number }, path: string): void {
    this.#outside.set(inode.dev, inode.ino, { gen: inode.gen, path });
  }

  /** Absolute path of a folder outside by its identity. */
  outsidePath(dev: number, ino: number): string | undefined {
    return this.#outside.get(dev, ino)?.path;
  }

  /** Absolute path of a node; undefined when it hangs nowhere. */
  abs(node: number): string | undefined {
    const path = this.#tree.path(node);
    if (path === undefined) return undefined;
    const root = this.#options.roots[this.#tree.rootOf(node)];
    if (!root) return undefined;
    return path === "" ? root.path : join(root.path, path);
  }

  /** Absolute path of a name in a folder of the tree. */
  absOf(dir: number, name: string): string | undefined {
    const path = this.abs(dir);
    return path === undefined ? undefined : join(path, name);
  }

  /** Is this name left out of the recording? */
  excluded(dir: number, name: string, isDir: boolean): boolean {
    const path = this.#tree.pathOf(dir, name);
    if (path === undefined) return false;
    return this.#options.excluded(path, isDir, this.#tree.rootOf(dir));
  }

  /** The announced names of an inode as an absolute path, by its anchor; undefined: unknown. */
  announcedPath(record: NodeRecord): string | undefined {
    let base: string | undefined = "/";
    if (record.anchorIno !== 0) {
      const anchor = this.#tree.lookup(record.anchorDev, record.anchorIno, 0);
      base = anchor
        ? this.abs(anchor.id)
        : this.outsidePath(record.anchorDev, record.anchorIno) ?? this.#viaAnchor(record);
    }
    if (base === undefined) return undefined;
    let path = base;
    for (let i = record.names.length - 1; i >= 0; i--) path = join(path, record.names[i] as string);
    return path;
  }

  /** The anchor is itself announced and not known yet: its own path, one step only. */
  #viaAnchor(record: NodeRecord): string | undefined {
    let path = "";
    let at = this.announced.get(record.anchorDev, record.anchorIno)?.record;
    for (let depth = 0; at && depth < SYMLINK_HOPS_MAX; depth++) {
      for (const name of at.names) path = path === "" ? name : `${name}/${path}`;
      if (at.anchorIno === 0) return `/${path}`;
      const node = this.#tree.lookup(at.anchorDev, at.anchorIno, 0);
      const base = node ? this.abs(node.id) : this.outsidePath(at.anchorDev, at.anchorIno);
      if (base !== undefined) return join(base, path);
      at = this.announced.get(at.anchorDev, at.anchorIno)?.record;
    }
    return undefined;
  }

  /** The watched folder that an absolute path lies in, and the names below it. */
  below(abs: string): { root: number; names: string[] } | undefined {
    for (const [path, root] of this.#rootAt) {
      if (abs === path) return { root, names: [] };
      const prefix = path === "/" ? "/" : `${path}/`;
      if (abs.startsWith(prefix)) return { root, names: abs.slice(prefix.length).split("/") };
    }
    return undefined;
  }

  /** Is an absolute path left out: it, or a folder above it that the tree does not have? */
  leftOut(abs: string, isDir: boolean): boolean {
    const found = this.below(abs);
    if (!found) return true;
    let dir = found.root;
    let path = "";
    const index = this.#tree.rootOf(found.root);
    for (let i = 0; i < found.names.length; i++) {
      const name = found.names[i] as string;
      path = path === "" ? name : `${path}/${name}`;
      dir = dir === 0 ? 0 : this.#tree.child(dir, name);
      const isFolder = isDir || i < found.names.length - 1;
      if (dir === 0 && this.#options.excluded(path, isFolder, index)) return true;
    }
    return false;
  }

  /** Where `path` leads from `base` (ino 0: from the root). */
  resolve(base: KernelInode, path: string, options: { follow: boolean }): Place {
    const walk: Walk = { dir: 0, out: "/", rest: [], hops: 0, follow: options.follow };
    if (path.endsWith("/")) walk.follow = true;
    if (path.startsWith("/proc/") || path.startsWith("/dev/fd/")) return this.#end("unknown");
    // an absolute path has a base in a chroot
    if (!path.startsWith("/") || base.ino !== 0) {
      const node = base.ino === 0 ? undefined : this.#tree.lookup(base.dev, base.ino, base.gen);
      const out = node ? undefined : this.#outside.get(base.dev, base.ino)?.path;
      if (!node && out === undefined) return this.#end(base.ino === 0 ? "unknown" : "missing");
      walk.dir = node?.id ?? 0;
      walk.out = out ?? "";
      if (path === "") return this.#itself(walk);
    } else {
      walk.dir = this.#rootAt.get("/") ?? 0;
    }
    pushParts(walk.rest, path);
    for (let steps = 0; steps < PATH_STEPS_MAX; steps++) {
      const name = walk.rest.pop();
      if (name === undefined) return this.#itself(walk);
      const place = name === ".."
        ? this.#up(walk)
        : walk.dir === 0
        ? this.#outsideStep(walk, name)
        : this.#insideStep(walk, name);
      if (place) return place;
    }
    return this.#end("missing");
  }

  #end(status: PlaceStatus, abs?: string): Place {
    return { status, dir: 0, name: "", node: 0, abs };
  }

  /** The path named a folder itself. */
  #itself(walk: Walk): Place {
    if (walk.dir === 0) return this.#end("outside", walk.out);
    const node = this.#tree.node(walk.dir);
    return {
      status: "found",
      dir: node?.parent ?? 0,
      name: node?.name ?? "",
      node: walk.dir,
      abs: this.abs(walk.dir),
    };
  }

  #up(walk: Walk): undefined {
    if (walk.dir !== 0) {
      const node = this.#tree.node(walk.dir);
      const gone = node && node.root < 0 && node.parent === 0
        ? this.outsidePath(node.dev, node.ino)
        : undefined;
      if (node && node.root < 0 && gone === undefined) {
        walk.dir = node.parent || node.lastParent;
        if (walk.dir !== 0) return undefined;
      }
      const root = this.#options.roots[node?.root ?? -1];
      walk.dir = 0;
      this.#enter(walk, dirname(gone ?? root?.path ?? "/"));
      return undefined;
    }
    this.#enter(walk, dirname(walk.out));
    return undefined;
  }

  /** Stands at an absolute path: in the tree, if a watched folder holds it. */
  #enter(walk: Walk, path: string): void {
    walk.out = path;
    for (const [root, node] of this.#rootAt) {
      if (path === root) {
        walk.dir = node;
        return;
      }
      if (!path.startsWith(root === "/" ? root : `${root}/`)) continue;
      const below = this.#tree.at(node, path.slice(root === "/" ? 1 : root.length + 1));
      if (below?.isDir) walk.dir = below.id;
      return;
    }
  }

  #symlink(walk: Walk, target: string): Place | undefined {
    walk.hops++;
    if (walk.hops > SYMLINK_HOPS_MAX) return this.#end("missing");
    pushParts(walk.rest, target);
    if (target.startsWith("/")) {
      walk.out = "/";
      walk.dir = this.#rootAt.get("/") ?? 0;
    }
    return undefined;
  }

  #insideStep(walk: Walk, name: string): Place | undefined {
    const isLast = walk.rest.length === 0;
    const id = this.#tree.child(walk.dir, name);
    const node = this.#tree.node(id);
    if (node?.isSymlink && (!isLast || walk.follow)) {
      return this.#symlink(walk, node.target ?? "");
    }
    if (isLast) {
      return { status: "found", dir: walk.dir, name, node: id, abs: this.absOf(walk.dir, name) };
    }
    if (node?.isDir) {
      walk.dir = id;
      return undefined;
    }
    if (node || !this.excluded(walk.dir, name, true)) return this.#end("missing");
    const out = this.absOf(walk.dir, name);
    if (out === undefined) return this.#end("missing");
    walk.dir = 0;
    walk.out = out;
    return undefined;
  }

  #outsideStep(walk: Walk, name: string): Place | undefined {
    const next = join(walk.out, name);
    const root = this.#rootAt.get(next);
    if (root !== undefined) {
      walk.dir = root;
      return undefined;
    }
    if (walk.rest.length > 0 || walk.follow) {
      const target = this.#readlink(next);
      if (target !== undefined) return this.#symlink(walk, target);
    }
    walk.out = next;
    return undefined;
  }

  /** Not remembered: what lies outside changes unseen. Folders above a watched one are no links. */
  #readlink(path: string): string | undefined {
    for (const root of this.#rootAt.keys()) if (root.startsWith(`${path}/`)) return undefined;
    return this.#options.assist?.readlink?.(path);
  }
}
