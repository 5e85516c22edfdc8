/**
 * One virtual machine: boots a kernel with an initrd in QEMU without hardware help (TCG), waits until it ends, returns what came
 * through its second serial line. thread=single: with several threads QEMU 7.2 dies now and then in early boot.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { FOLDER, tool } from "./folder.ts";
import type { KernelImage } from "./kernel_image.ts";

const MEMORY_MB = 1536;
const DISK = "3G";

/** How a guest is started. */
export interface GuestOptions {
  name: string;
  image: KernelImage;
  initrd: string;
  /** More words for the kernel's command line. */
  parameters: readonly string[];
  secondsMax: number;
}

/** How it went. */
export interface GuestRun {
  output: string;
  /** What the kernel said: for a look at guests that do not come up. */
  consolePath: string;
  seconds: number;
}

/** Why no guest can be started here; empty: it can. */
export function guestObstacle(): string {
  if (process.arch !== "x64") return "the guests are x86-64 only so far";
  for (
    const program of ["qemu-system-x86_64", "busybox", "mke2fs", "zstd", "lz4", "xz", "dpkg-deb"]
  ) {
    if (Bun.which(program, { PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` }) === null) {
      return `needs ${program} (Debian: qemu-system-x86 busybox-static e2fsprogs zstd lz4 xz-utils)`;
    }
  }
  return "";
}

function argvOf(options: GuestOptions, files: { disk: string; console: string; output: string }) {
  const words = ["console=ttyS0", "quiet", "panic=-1", "mitigations=off", ...options.parameters];
  return [
    "qemu-system-x86_64",
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-accel", "tcg,thread=single", "-cpu", "max", "-machine", "pc", "-smp", "2"],
    ...["-m", String(MEMORY_MB), "-kernel", options.image.vmlinux, "-initrd", options.initrd],
    ...["-drive", `if=none,id=d0,format=raw,file=${files.disk},cache=unsafe`],
    ...["-device", "nvme,drive=d0,serial=d0"],
    ...["-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
    ...["-serial", `file:${files.console}`, "-serial", `file:${files.output}`],
    ...["-append", words.join(" ")],
  ];
}

/** Runs a guest to its end, or until its time is up. */
export async function runGuest(options: GuestOptions): Promise<GuestRun> {
  const folder = join(FOLDER, "guests", options.name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const files = {
    disk: join(folder, "disk"),
    console: join(folder, "console"),
    output: join(folder, "output"),
  };
  tool(["truncate", "-s", DISK, files.disk]);
  tool(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", files.disk]);
  const startedAt = performance.now();
  const child = Bun.spawn(argvOf(options, files), {
    stdio: ["ignore", "ignore", Bun.file(join(folder, "qemu"))],
    timeout: options.secondsMax * 1000,
    killSignal: "SIGKILL",
  });
  await child.exited;
  rmSync(files.disk);
  return {
    output: readFileSync(files.output, "utf8"),
    consolePath: files.console,
    seconds: (performance.now() - startedAt) / 1000,
  };
}
