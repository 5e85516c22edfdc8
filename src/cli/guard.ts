/** The hidden verb `__guard`: what the small program beside a recording becomes when there is something to do (src/record/guard.ts). */
import { type Command, Option } from "commander";
import { guard, type Happened } from "../record/guard.ts";

interface GuardFlags {
  after: Happened;
  cgroup?: string;
  gate?: string;
  owner?: string;
}

/** Adds the command to the program, hidden from help. */
export function register(program: Command): void {
  program.command("__guard", { hidden: true }).argument("<pid>")
    .option("--cgroup <folder>").option("--gate <state-dir>").option("--owner <ids>")
    .addOption(
      new Option("--after <what>").choices(["ended", "keep", "take"]).makeOptionMandatory(),
    )
    .action((pid: string, { after, cgroup, gate, owner: ids = "" }: GuardFlags) => {
      const [uid, gid] = ids.split(":").map(Number);
      const owner = uid === undefined || gid === undefined ? undefined : { uid, gid };
      const gated = gate === undefined ? undefined : { dir: gate, owner };
      guard(Number(pid), cgroup, { after, ...gated !== undefined && { gated } });
    });
}
