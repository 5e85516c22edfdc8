/**
 * The kernel's own type information (BTF), asked for tracepoints. Each has a typedef btf_trace_NAME, so its name stands in the
 * string section, of the kernel itself or of the module that brings it (libbpf parses all of it anew for each question: 10 ms).
 */
import { existsSync, readFileSync } from "node:fs";

const FOLDER = "/sys/kernel/btf";

/** True if this kernel has type information at all. */
export function hasKernelTypes(): boolean {
  return existsSync(`${FOLDER}/vmlinux`);
}

/** See the head of the file. */
export class KernelTypes {
  readonly #bytes = readFileSync(`${FOLDER}/vmlinux`);

  /** @param module where the tracepoint is if the kernel was built with it as a module: only found while that is loaded. */
  hasTracepoint(name: string, module?: string): boolean {
    const typedef = `\0btf_trace_${name}\0`;
    if (this.#bytes.includes(typedef, 0, "latin1")) return true;
    const path = `${FOLDER}/${module}`;
    return module !== undefined && existsSync(path) &&
      readFileSync(path).includes(typedef, 0, "latin1");
  }
}
