/** Hands argv to the command line, nothing else. */
import { run } from "./src/cli/run.ts";

await run();
