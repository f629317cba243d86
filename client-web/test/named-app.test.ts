import { expect, test } from "vitest";
import { missingWords, namedApp } from "../src/ui/named-app.ts";

test("the address names an app", () => {
  expect(["?app=freedoom", "?login=failed&app=a.b-c", "?app=", "", "?apps=x"].map(namedApp)).toEqual(["freedoom", "a.b-c", null, null, null]);
});

test("what no app can be called is not repeated to whoever was sent a link", () => {
  expect(missingWords("freedom")).toContain("“freedom”");
  for (const id of ["call 0800 123 and say your password", "x".repeat(65), "\u202egpj", "<b>"]) expect(missingWords(id)).not.toContain(id);
});
