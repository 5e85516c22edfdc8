/**
 * Where the code of a thread is: in the compiled binary its bundled path, else the source file. Imports nothing.
 */

/** The entry of a thread. @param path of its source file, from the top of the project: `src/record/gate_worker.ts`. */
export function workerUrl(path: `src/${string}_worker.ts`): string | URL {
  return Bun.main.startsWith("/$bunfs/") ? `./${path}` : new URL(`../../${path}`, import.meta.url);
}
