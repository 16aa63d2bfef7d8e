// Verifies each case of a JSON file with the page's own modules, under Node: node run.mjs CASES.json
import { readFile } from "node:fs/promises";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
const { verify } = await import("../../api/verify/checks.js");
const bytes = (text) => (text === null ? null : Uint8Array.from(Buffer.from(text, "base64")));
const cases = JSON.parse(await readFile(process.argv[2], "utf8"));
const reports = [];
for (const { policy, file, statement, now } of cases) {
  const { holds, checks, kind, summary, notChecked } = await verify(bytes(file), { policy: bytes(policy), statement: bytes(statement), now });
  reports.push({ holds, kind, summary, notChecked, checks: checks.map(({ name, verdict, detail }) => [name, verdict, detail]) });
}
process.stdout.write(JSON.stringify(reports));
