/** `diffkeeper info`: a placeholder until the command is built. */
import type { Command } from "commander";
import { DiffKeeperError } from "../base/error.ts";

/** Adds the command to the program. */
export function register(program: Command): void {
  program.command("info").description("not built yet").action(() => {
    throw new DiffKeeperError("defect", "cannot run info: it is not built yet");
  });
}
