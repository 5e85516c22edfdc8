/** `diffkeeper record` in a binary that only reads traces: says so. */
import type { Command } from "commander";
import { DiffKeeperError, EXIT_RECORDER_FAILED } from "../base/error.ts";
import { reportError } from "./output.ts";

/** Adds the command to the program. */
export function register(program: Command): void {
  program.command("record")
    .description("not in this binary: it reads traces, recording needs Linux")
    .argument("[command...]")
    .allowUnknownOption()
    .passThroughOptions()
    .option("--json", "the error as one JSON object")
    .action((_: string[], { json }: { json?: boolean }) => {
      const what = `${process.platform} ${process.arch}`;
      const error = new DiffKeeperError(
        "unsupported_kernel",
        `cannot record with this binary (${what}): it only reads traces`,
        {
          hint:
            "record on Linux with BTF (/sys/kernel/btf/vmlinux), with the binary made for it; " +
            "`diffkeeper pack` there makes a file for here",
        },
      );
      reportError(error, { json: json === true });
      process.exitCode = EXIT_RECORDER_FAILED;
    });
}
