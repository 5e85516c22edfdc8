/**
 * The command line: builds the program from one module per command, runs it, and turns every failure into one error
 * report and one exit code. The commands throw; only this file and output.ts decide what that looks like.
 */
import { Command, CommanderError } from "commander";
import {
  asDiffKeeperError,
  DiffKeeperError,
  EXIT_RECORDER_FAILED,
  exitCodeOf,
} from "../base/error.ts";
import manifest from "../../package.json" with { type: "json" };
import { reportError, stderr, stdout } from "./output.ts";
const EXAMPLES = `
Examples:
  sudo diffkeeper record -- make test       # record every change to the files under this folder
  diffkeeper timeline                       # what happened, event by event
  diffkeeper timeline --path status.log     # what happened to one file
  diffkeeper export --time '#4' --out then  # the folder as it was after event 4
  diffkeeper info                           # the recording in a few lines
  diffkeeper verify                         # whether the trace is whole
  diffkeeper compact                        # make the trace small`;

/** A module of this folder that adds a command. */
export interface CommandModule {
  register(program: Command): void;
}

/** The whole program with its commands; made anew on each call, so that tests can run it twice. */
export function createProgram(commands: readonly CommandModule[]): Command {
  const program = new Command("diffkeeper")
    .description("A flight recorder for the files of any command: record, look, go back.")
    .version(manifest.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", EXAMPLES)
    .enablePositionalOptions()
    .showSuggestionAfterError(true);
  for (const command of commands) command.register(program);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      outputError: () => undefined,
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => stdout.columns ?? 80,
      getErrHelpWidth: () => stderr.columns ?? 80,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  }
  return program;
}

/** Runs the command line of this process to its end and sets the exit code. */
export async function run(
  commands: readonly CommandModule[],
  argv: readonly string[] = process.argv.slice(2),
): Promise<void> {
  const json = wantsJson(argv);
  // A failure in a callback or of a promise that nobody awaits is shown like any other error.
  const onStray = (thrown: unknown) => {
    const error = asDiffKeeperError(thrown);
    reportError(error, { json });
    process.exit(codeOf(error, argv));
  };
  process.on("uncaughtException", onStray).on("unhandledRejection", onStray);
  try {
    const program = createProgram(commands);
    if (argv.length === 0) {
      program.outputHelp({ error: true });
      process.exitCode = exitCodeOf("usage");
      return;
    }
    refuseUnknownHelp(program, argv);
    await program.parseAsync(argv, { from: "user" });
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return;
    const error = thrown instanceof CommanderError
      ? usageError(thrown, commands, argv)
      : asDiffKeeperError(thrown);
    reportError(error, { json });
    process.exitCode = codeOf(error, argv);
  }
}

/** A code of `record` below 125 is the command's, so nothing that keeps a command from running may have one (decision 0007). */
function codeOf(error: DiffKeeperError, [verb]: readonly string[]): number {
  return verb === "record" ? EXIT_RECORDER_FAILED : exitCodeOf(error.code);
}

/** True if the user asked for JSON: `--json` before any `--`, because what follows belongs to the recorded command. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end === -1 ? argv.length : end).includes("--json");
}

/** `help x`: commander would print the help of the whole program and call that an error. */
function refuseUnknownHelp(program: Command, argv: readonly string[]): void {
  const [verb, name] = argv;
  if (verb !== "help" || name === undefined || name.startsWith("-")) return;
  const names = program.commands.map((command) => command.name());
  if (names.includes(name) || name === verb) return;
  const shown = names.filter((one) => !one.startsWith("__"));
  throw new DiffKeeperError("usage", `cannot help with "${name}": there is no such command`, {
    hint: `the commands are ${shown.join(", ")}`,
  });
}

/** Commander's message without its prefix, its suggestion as the hint. */
function usageError(
  error: CommanderError,
  commands: readonly CommandModule[],
  argv: readonly string[],
): DiffKeeperError {
  const [first = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  const verb = createProgram(commands).commands.find((command) => command.name() === argv[0])
    ?.name();
  const help = `run: diffkeeper ${verb === undefined ? "" : `${verb} `}--help`;
  const nearest = /Did you mean (.+)\?/.exec(suggestion ?? "")?.[1];
  const hint = nearest === undefined ? help : `did you mean "${nearest}"? Otherwise ${help}`;
  return new DiffKeeperError("usage", first, { hint });
}
