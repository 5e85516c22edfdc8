/** The two hidden verbs: `__launch` becomes the recorded command, `__guard` frees it when the recorder was killed. */
import type { Command } from "commander";
import { guard } from "../record/guard.ts";
import { launch } from "../record/launcher.ts";
import { reportError } from "./output.ts";

/** Adds the commands to the program, hidden from help. */
export function register(program: Command): void {
  program.command("__launch", { hidden: true }).argument("<fd>").action((fd: string) => {
    const failure = launch(Number(fd));
    if (failure === undefined) process.exit(125);
    reportError(failure.error, { json: false });
    process.exit(failure.exitCode);
  });
  program.command("__guard", { hidden: true }).argument("<pid>").argument("[folder]")
    .action((pid: string, folder: string | undefined) => guard(Number(pid), folder));
}
