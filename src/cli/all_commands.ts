/** Every command of the program that records and reads. */
import * as guardCommand from "./guard.ts";
import * as recordCommand from "./record.ts";
import { READING_COMMANDS } from "./reading_commands.ts";
import type { CommandModule } from "./run.ts";

/** In the order of --help. */
export const ALL_COMMANDS: readonly CommandModule[] = [
  recordCommand,
  ...READING_COMMANDS,
  guardCommand,
];
