/** The entry of binaries that only read traces (tools/build.ts --target): they hold nothing of the recorder. */
import { READING_COMMANDS } from "./reading_commands.ts";
import * as recordElsewhere from "./record_elsewhere.ts";
import { run } from "./run.ts";

await run([recordElsewhere, ...READING_COMMANDS]);
