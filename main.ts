/** Hands argv to the command line, nothing else. */
import { ALL_COMMANDS } from "./src/cli/all_commands.ts";
import { run } from "./src/cli/run.ts";

await run(ALL_COMMANDS);
