/**
 * Files that the binary carries: `import path from "../build/lib/x.so.1" with { type: "file" }` gives a path that Bun can
 * read, inside the compiled binary too. Declared here because they exist only after a build.
 */
declare module "*.so.1" {
  const path: string;
  export default path;
}
declare module "*.bpf.o" {
  const path: string;
  export default path;
}
declare module "*.wasm" {
  const path: string;
  export default path;
}

declare module "*.elf" {
  const path: string;
  export default path;
}
declare module "*/loading.so" {
  const path: string;
  export default path;
}
