/**
 * What the lint rules need to know of a syntax tree: the few fields they read, and questions about names and lines.
 * The types stand in for Deno's own, which tsc does not have here.
 */

/** The fields of an ESTree node that the rules look at; which are there depends on `type`. */
export interface LintNode {
  readonly type: string;
  readonly parent?: LintNode | null;
  readonly name?: string;
  readonly value?: unknown;
  readonly source?: { readonly value?: unknown } | null;
  readonly id?: LintNode | null;
  readonly key?: LintNode;
  readonly object?: LintNode;
  readonly property?: LintNode;
  readonly callee?: LintNode;
  readonly arguments?: readonly LintNode[];
  readonly expression?: LintNode;
  readonly async?: boolean;
}

/** What Deno hands to a rule. */
export interface LintContext {
  readonly filename: string;
  readonly sourceCode: { getText(node: LintNode): string };
  report(data: { node: LintNode; message: string }): void;
}

/** One rule of a plugin. */
export interface LintRule {
  create(context: LintContext): Partial<Record<string, (node: LintNode) => void>>;
}

/** Deeper nesting than this is not looked at. */
const DEPTH_MAX = 1_000;
const FUNCTION_TYPES = ["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"];

/** The name after the dot; private names without their `#` made visible as `#name`. */
export function memberName(node: LintNode): string | undefined {
  return nameOf(node.property);
}

function nameOf(node: LintNode | null | undefined): string | undefined {
  if (node === undefined || node === null || node.name === undefined) return undefined;
  return node.type === "PrivateIdentifier" ? `#${node.name.replace(/^#/, "")}` : node.name;
}

/** What calls would name the function node: `name`, or `this.name` for a method; undefined if it has no name. */
export function functionName(node: LintNode): string | undefined {
  const parent = node.parent;
  if (parent?.type === "MethodDefinition" || parent?.type === "PropertyDefinition") {
    const name = nameOf(parent.key);
    return name === undefined ? undefined : `this.${name}`;
  }
  if (parent?.type === "VariableDeclarator") return nameOf(parent.id);
  return nameOf(node.id);
}

/** The names of the functions around a node, innermost first. */
export function enclosingNames(node: LintNode): string[] {
  const names: string[] = [];
  let at = node.parent;
  for (let depth = 0; at !== undefined && at !== null && depth < DEPTH_MAX; depth++) {
    if (FUNCTION_TYPES.includes(at.type)) {
      const name = functionName(at);
      if (name !== undefined) names.push(name);
    }
    at = at.parent;
  }
  return names;
}

/** Lines that hold code: neither blank nor only comment. */
export function codeLines(text: string): number {
  let count = 0;
  let inComment = false;
  for (const raw of text.split("\n")) {
    const line = raw.trim();
    if (inComment) {
      inComment = !line.includes("*/");
      continue;
    }
    if (line === "" || line.startsWith("//")) continue;
    if (line.startsWith("/*")) {
      inComment = !line.includes("*/");
      continue;
    }
    count++;
  }
  return count;
}
