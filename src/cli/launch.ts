/** The two hidden verbs: `__launch` becomes the recorded command, `__guard` frees it when the recorder was killed. */
import type { Command } from "commander";
import { guard } from "../record/guard.ts";
import { launch } from "../record/launcher.ts";
import { reportError } from "./output.ts";

/** Adds the commands to the program, hidden from help. */
export function register(program: Command): void {
  const launcher = program.command("__launch", { hidden: true });
  launcher.argument("<fd>").argument("<reply>").action((fd: string, reply: string) => {
    const failure = launch(Number(fd), Number(reply));
    if (failure === undefined) process.exit(125);
    reportError(failure.error, { json: false });
    process.exit(failure.exitCode);
  });
  program.command("__guard", { hidden: true }).argument("<pid>").argument("[folder]")
    .option("--gate <state-dir>").option("--owner <ids>")
    .action((pid: string, folder: string | undefined, flags: { gate?: string; owner?: string }) => {
      const [uid, gid] = (flags.owner ?? "").split(":").map(Number);
      const owner = uid === undefined || gid === undefined ? undefined : { uid, gid };
      const { gate } = flags;
      guard(Number(pid), folder, gate === undefined ? undefined : { dir: gate, owner });
    });
}
