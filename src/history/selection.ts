/**
 * Which names of a tree an export takes: all, or what a glob covers together with the folders above it. A pattern that
 * names a folder covers all it holds, so a walk that passes `covered` down need not ask again below.
 */
import { DiffKeeperError } from "../base/error.ts";
import type { Glob } from "../format/glob.ts";
import type { Node } from "../resolve/node.ts";
import type { Tree } from "../resolve/tree.ts";

/** See the head of the file. */
export class Selection {
  readonly #tree: Tree;
  readonly #rootPaths: readonly string[];
  readonly #glob: Glob | undefined;
  readonly #needed = new Set<number>();

  /** @throws {DiffKeeperError} code `not_found` when the glob covers nothing. */
  constructor(tree: Tree, rootPaths: readonly string[], glob?: Glob) {
    this.#tree = tree;
    this.#rootPaths = rootPaths;
    this.#glob = glob;
    if (glob === undefined) return;
    for (const { node, path, root } of tree.walk()) {
      if (!glob.covers(path, rootPaths[root] ?? "")) continue;
      this.#need(node.isDir ? node.id : this.#parentOf(path, root));
    }
    if (this.#needed.size > 0) return;
    throw new DiffKeeperError("not_found", `cannot export: nothing matches "${glob.pattern}"`, {
      hint: "a pattern without / matches names at any depth; others count from a watched folder, " +
        "or from where record was run",
    });
  }

  /** Watched folders to walk; one inside another belongs to that. */
  roots(): Node[] {
    return this.#tree.roots.filter((root) => root.parent === 0);
  }

  coversRoot(root: Node): boolean {
    return this.#glob === undefined || this.matches("", root);
  }

  matches(path: string, root: Node): boolean {
    return this.matchesIn(path, root.root);
  }

  matchesIn(path: string, root: number): boolean {
    return this.#glob?.matches(path, this.#rootPaths[root] ?? "") ?? true;
  }

  /** Whether a folder is covered or holds something that is. */
  needs(folder: Node): boolean {
    return this.#glob === undefined || this.#needed.has(folder.id);
  }

  #parentOf(path: string, root: number): number {
    const top = this.#tree.roots.find((node) => node.root === root);
    const folder = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    return this.#tree.at(top?.id ?? 0, folder)?.id ?? 0;
  }

  /** Marks a folder and all above it. */
  #need(id: number): void {
    let at = id;
    while (at !== 0 && !this.#needed.has(at)) {
      this.#needed.add(at);
      at = this.#tree.node(at)?.parent ?? 0;
    }
  }
}
