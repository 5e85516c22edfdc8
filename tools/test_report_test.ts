import { expect, test } from "bun:test";
import { parseReport } from "./test_report.ts";

test("an empty report has no tests", () => {
  expect(parseReport("")).toEqual({ passed: 0, failed: 0, skips: [] });
});

test("passed, failed, broken and skipped are told apart", () => {
  const xml = `<testsuite name="a" tests="5">
    <testcase name="ok &gt; &lt;failure&gt;" time="0" />
    <testcase name="no" time="0">
      <failure type="AssertionError" message="a &lt;skipped /&gt;">x</failure>
    </testcase>
    <testcase name="thrown" time="0"><error message="y" /></testcase>
    <testcase name="drain (needs root &amp; BTF)" time="0">
      <skipped />
    </testcase>
    <testcase name="last" time="0" />
  </testsuite>`;
  expect(parseReport(xml)).toEqual({
    passed: 2,
    failed: 2,
    skips: ["drain (needs root & BTF)"],
  });
});
