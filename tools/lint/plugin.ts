/**
 * The lint rules of the house that Deno does not have, as one Deno lint plugin (https://docs.deno.com: lint plugins).
 * It relies on no types, only on syntax: what needs types is left to tsc. Each report ends with the reason of the ban.
 */
import { codeLines, enclosingNames, functionName, memberName } from "./syntax.ts";
import type { LintContext, LintNode, LintRule } from "./syntax.ts";
import { importProblem, roomOf } from "./rooms.ts";

const FUNCTION_LINES_MAX = 60;
const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

function relative(context: LintContext): string {
  const name = context.filename.replace(/^file:\/\//, "");
  return name.startsWith(ROOT) ? name.slice(ROOT.length) : name;
}

function isTest(path: string): boolean {
  return path.endsWith("_test.ts");
}

/** Imports follow the direction of the rooms; the reasons are in rooms.ts. */
const roomImports: LintRule = {
  create(context) {
    const path = relative(context);
    const check = (node: LintNode) => {
      const specifier = node.source?.value;
      if (typeof specifier !== "string") return;
      const problem = importProblem(path, specifier);
      if (problem !== undefined) context.report({ node, message: problem });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    };
  },
};

const SPEAKING = new Map([
  ["process", ["argv", "env", "exit", "exitCode", "stdout", "stderr"]],
  ["Bun", ["argv", "env", "stdout", "stderr"]],
]);

/** Only cli reads argv and env, prints and sets the exit code: the engine must run in a server and in a test as well. */
const onlyCliSpeaks: LintRule = {
  create(context) {
    const path = relative(context);
    const room = roomOf(path);
    if (room === undefined || room === "cli" || isTest(path)) return {};
    return {
      MemberExpression(node) {
        const object = node.object?.name ?? "";
        const name = memberName(node) ?? "";
        if (object !== "console" && SPEAKING.get(object)?.includes(name) !== true) return;
        const message = `${object}.${name} is for src/cli only: ` +
          "an engine gets its input as arguments, returns or throws, and calls a Reporter";
        context.report({ node, message });
      },
    };
  },
};

/** A function fits on one screen. Comments and blank lines are free; a describe() block of a test is no function. */
const functionLength: LintRule = {
  create(context) {
    const check = (node: LintNode) => {
      if (node.parent?.type === "CallExpression" && node.parent.callee?.name === "describe") return;
      const lines = codeLines(context.sourceCode.getText(node));
      if (lines <= FUNCTION_LINES_MAX) return;
      const message = `this function has ${lines} lines of code, at most ${FUNCTION_LINES_MAX}: ` +
        "a function must be understood at one look; give a part of it a name";
      context.report({ node, message });
    };
    return {
      FunctionDeclaration: check,
      FunctionExpression: check,
      ArrowFunctionExpression: check,
    };
  },
};

/** A function that calls itself has no bound that a reader can see: deep trees from outside would end the process. */
const noRecursion: LintRule = {
  create(context) {
    return {
      CallExpression(node) {
        const callee = node.callee;
        const isThis = callee?.type === "MemberExpression" &&
          callee.object?.type === "ThisExpression";
        const name = isThis && callee !== undefined ? `this.${memberName(callee)}` : callee?.name;
        if (name === undefined || !enclosingNames(node).includes(name)) return;
        const message = `${name} calls itself: recursion has no visible bound; ` +
          "use a loop with a stack whose size is a named limit";
        context.report({ node, message });
      },
    };
  },
};

/** A promise that nobody awaits loses its error. Sees async functions of the same file and bare .then() chains. */
const noFloatingPromise: LintRule = {
  create(context) {
    const asyncNames = new Set<string>();
    const statements: { node: LintNode; name: string }[] = [];
    const collect = (node: LintNode) => {
      const name = node.async === true ? functionName(node) : undefined;
      if (name !== undefined) asyncNames.add(name);
    };
    return {
      FunctionDeclaration: collect,
      FunctionExpression: collect,
      ArrowFunctionExpression: collect,
      ExpressionStatement(node) {
        const call = node.expression;
        const callee = call?.type === "CallExpression" ? call.callee : undefined;
        if (call === undefined || callee === undefined) return;
        const isThis = callee.object?.type === "ThisExpression";
        const member = callee.type === "MemberExpression" ? memberName(callee) : undefined;
        if (member === "then" && call.arguments?.length === 1) {
          statements.push({ node, name: "then" });
        } else if (isThis) statements.push({ node, name: `this.${member}` });
        else if (callee.name !== undefined) statements.push({ node, name: callee.name });
      },
      "Program:exit"() {
        for (const { node, name } of statements) {
          if (name !== "then" && !asyncNames.has(name)) continue;
          const message =
            `nobody awaits this promise (${name}): its failure would be lost; await or return it, ` +
            "or keep it and await it later";
          context.report({ node, message });
        }
      },
    };
  },
};

/** A template literal is built on every call (70 ns), a constant costs nothing until the assertion fails. */
const constantAssertText: LintRule = {
  create(context) {
    return {
      CallExpression(node) {
        if (node.callee?.name !== "assert" || isTest(relative(context))) return;
        const text = node.arguments?.[1];
        if (text?.type === "Literal" && typeof text.value === "string") return;
        const message =
          "assert() takes a condition and a constant text: other text is built on every call; " +
          "an error with values in it is for outside data, thrown as DiffKeeperError";
        context.report({ node, message });
      },
    };
  },
};

const plugin: { name: string; rules: Record<string, LintRule> } = {
  name: "house",
  rules: {
    "room-imports": roomImports,
    "only-cli-speaks": onlyCliSpeaks,
    "function-length": functionLength,
    "no-recursion": noRecursion,
    "no-floating-promise": noFloatingPromise,
    "constant-assert-text": constantAssertText,
  },
};

export default plugin;
