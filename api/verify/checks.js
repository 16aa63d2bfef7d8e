// What `comity verify` checks of a tlog-proof, a status proof, a crossing pass and a crossing certificate, in its words.
//
// Promises: every check that can be made is made; one that cannot, because an earlier one failed, says what it needs; and
// each report says what no such file can tell. The same files hold here and there; tests hold the two against each other.

import { concat, decode, equal, hex, Malformed, spellBytes, spellText } from "./cbor.js";
import { decimal, fromBase64, kidOf, NoEd25519, parseCheckpoint, parseNote, parsePolicy, verifyEd25519, weigh, witnessed } from "./notes.js";
import { authorityOf, isStatement, Order, parseBlock, parseGenesis, parseStatement, readRecord } from "./records.js";
import { leafHash, parseStateProof, Untrue, verifyInclusion, verifyMultiproof, verifyStateProof } from "./trees.js";
import { EVENTS } from "./tables.js";

const MAX_BYTES = { "tlog-proof": 353_621, "status-proof": 539_824, pass: 16_384, crossing: 4 * 1024 * 1024, statement: 32 * 1024 };
const SIGNATURES = "the statements' own signatures: both authorities checked them against their registry before cosigning; an audit of the archive checks them again";
const NOT_IN_THE_RECORD = "that nothing was left out which the movement's record does not keep: what became of its declarations (suspension, withdrawal, control, request: ask for their status proofs), a time limit that passed and was extended, an offer that lapsed";
const WITHOUT_RECORD = "that the last statements were not left out, and with them a later state and another custody; nor what changes no state, such as an incident that held nothing, or a time limit that has passed since the last statement: this certificate has no proof of the movement's record";
const LATER = "what happened after the checkpoint: a later entry may have changed what this one says";
const encoder = new TextEncoder();

class Checks {
  made = [];
  holds = (name, detail) => this.#add(name, "holds", detail);
  fails = (name, detail) => this.#add(name, "fails", detail instanceof Error ? detail.message : detail);
  notReached = (name, needs) => this.#add(name, "not reached", `needs ${needs}`);
  #add(name, verdict, detail) {
    this.made.push({ number: this.made.length + 1, name, verdict, detail });
  }
  // Runs one check. Returns what it returns, null if it fails; what it does not expect is a bug, and not swallowed.
  async make(name, work) {
    try {
      const [value, detail] = await work();
      this.holds(name, detail);
      return value;
    } catch (error) {
      if (!(error instanceof Malformed || error instanceof Untrue || error instanceof NoEd25519)) throw error;
      this.fails(name, error);
      return null;
    }
  }
}

export const time = (seconds) => {
  const at = new Date(Number(seconds) * 1000);
  return Number.isNaN(at.getTime()) || Number(seconds) > 253_402_300_799 ? `${seconds} s` : at.toISOString().replace(".000Z", "+00:00");
};

const startsWith = (data, start) => data.length >= start.length && equal(data.subarray(0, start.length), start);
const tagged = (members, tag) => concat(Uint8Array.of(0x80 | members), spellText(tag));
const hashesOf = (bytes) => {
  if (!(bytes instanceof Uint8Array) || bytes.length % 32) throw new Malformed("expected hashes of 32 bytes each");
  return Array.from({ length: bytes.length / 32 }, (_, at) => bytes.subarray(32 * at, 32 * at + 32));
};

// What a file is, by its bytes.
export function kindOf(data) {
  if (startsWith(data, encoder.encode("c2sp.org/tlog-proof@"))) return "tlog-proof";
  if (startsWith(data, tagged(7, "comity.status.v1"))) return "status-proof";
  if (startsWith(data, tagged(6, "comity.crossing.v1"))) return "crossing";
  if (startsWith(data, Uint8Array.of(0xd8, 0x62, 0x84))) return "pass";
  if (startsWith(data, Uint8Array.of(0xd2, 0x84))) return "statement";
  if (/^[\s\S]*^(log|witness|quorum) /m.test(new TextDecoder().decode(data.subarray(0, 4096)))) return "policy";
  return "unknown";
}

// `context`: { policy: bytes, statement: bytes or null, now: seconds }
export async function verify(data, context) {
  const kind = kindOf(data);
  const checks = new Checks();
  const check = { "tlog-proof": tlogProof, "status-proof": statusProof, pass, crossing }[kind];
  const report = { kind, checks: checks.made, notChecked: [], summary: "", told: [] };
  if (!check) checks.fails("kind", "nothing that this page can verify: expected a tlog-proof with its statement, a status proof, a pass or a crossing certificate");
  else if (data.length > MAX_BYTES[kind]) checks.fails("size", `too large: expected at most ${MAX_BYTES[kind]} bytes, got ${data.length}`);
  else await check(checks, data, context, report);
  report.holds = checks.made.length > 0 && checks.made.every(({ verdict }) => verdict === "holds");
  if (!report.holds) report.summary = "";
  return report;
}

async function policyOf(checks, context) {
  return checks.make("policy", async () => {
    const policy = await parsePolicy(context.policy);
    return [policy, `${policy.logs.length} log, ${policy.witnesses.length} witnesses, quorum ${policy.quorum}`];
  });
}

const signers = (times) => [...times].map(([name, at]) => `${name} at ${time(at)}`).join(", ") || "nobody";

// Checks `log` and `quorum` of a checkpoint. Returns the checkpoint; null where its signatures could not be weighed.
async function logAndQuorum(checks, policy, note, report, needs) {
  if (policy === null || note === null) {
    checks.notReached("log", needs);
    checks.notReached("quorum", "a checkpoint whose signatures are good");
    return null;
  }
  let weighed = null;
  const checkpoint = await checks.make("log", async () => {
    weighed = await weigh(policy, note);
    const { checkpoint: found } = weighed;
    if (!weighed.log) throw new Untrue(`no log of the policy signed a checkpoint of ${found.origin}`);
    return [found, `${found.origin}, ${found.size} entries`];
  });
  if (weighed === null) checks.notReached("quorum", "a checkpoint whose signatures are good");
  else if (weighed.met) checks.holds("quorum", `${policy.quorum}: cosigned by ${signers(weighed.times)}`);
  else checks.fails("quorum", `${policy.quorum}: cosigned by ${signers(weighed.times)}; missing ${weighed.missing.join(", ")}`);
  if (weighed?.unchecked.length) report.notChecked.push(`post-quantum signatures (ML-DSA-44) of ${weighed.unchecked.join(", ")}: this page has no code for them, comity verify has`);
  return weighed === null ? checkpoint : weighed.checkpoint;
}

// --- C2SP tlog-proof

function parseTlogProof(data) {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
  const blank = text.indexOf("\n\n");
  if (blank < 0) throw new Malformed("proof must have an empty line before its checkpoint");
  const [header, ...lines] = text.slice(0, blank).split("\n");
  if (header !== "c2sp.org/tlog-proof@v1") throw new Malformed(`first line is wrong: got ${header.slice(0, 40)}`);
  if (lines[0]?.startsWith("extra ")) fromBase64(lines.shift().slice(6), "extra data");
  if (!lines[0]?.startsWith("index ")) throw new Malformed("index line is missing");
  const index = decimal(lines[0].slice(6), "index");
  if (lines.length > 64) throw new Malformed("too many hashes: expected at most 63");
  const hashes = lines.slice(1).map((line) => fromBase64(line, "proof hash"));
  if (hashes.some((hash) => hash.length !== 32)) throw new Malformed("hash has wrong length: expected 32 bytes");
  const note = encoder.encode(text.slice(blank + 2));
  parseCheckpoint(parseNote(note).text);
  return { index, hashes, note };
}

async function tlogProof(checks, data, context, report) {
  report.notChecked = [SIGNATURES.replace("statements'", "statement's").replace("them", "it").replace("them", "it"), LATER];
  const policy = await policyOf(checks, context);
  const proof = await checks.make("proof", async () => {
    let parsed;
    try {
      parsed = parseTlogProof(data);
    } catch (error) {
      throw error instanceof TypeError ? new Malformed("proof is not text") : error;
    }
    return [parsed, `entry ${parsed.index} of a tree of ${parseCheckpoint(parseNote(parsed.note).text).size}`];
  });
  const statement = await checks.make("statement", async () => {
    if (context.statement === null) throw new Malformed("a proof is about a statement, which is a file of its own: drop it too");
    const parsed = await parseStatement(context.statement);
    return [parsed, `${parsed.kind} about ${parsed.subject}, by ${parsed.issuer}, dated ${time(parsed.signedAt)} by its signer`];
  });
  const checkpoint = await logAndQuorum(checks, policy, proof?.note ?? null, report, "a policy and a proof");
  if (proof === null || checkpoint === null || context.statement === null) return checks.notReached("inclusion", "a proof and a statement");
  await checks.make("inclusion", async () => {
    const leaf = await leafHash(context.statement);
    await verifyInclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root);
    return [null, `entry ${proof.index}, id ${hex(leaf)}`];
  });
  if (statement !== null) report.summary = `${EVENTS[statement.kind] ?? statement.kind}: ${statement.subject}`;
  return null;
}

// --- status proof

// Any text has a place in the state map: of one that only looks like a record's key, that there is none says nothing.
const PRINTABLE = /^[\x20-\x7e]+$/;
const NAMED = /^(declaration\/[0-9A-Z/-]{1,35}|escort\/[0-9A-Z]{18}|registry\/[a-z0-9][a-z0-9./_-]{0,63})$/;

async function statusProof(checks, data, context, report) {
  report.notChecked = ["whether there is anything newer: the record is as of the checkpoint; ask for another proof, and compare", "what is not on the ledger: private fields are commitments here, and what was never sent is nowhere"];
  const policy = await policyOf(checks, context);
  const proof = await checks.make("format", async () => {
    const parts = decode(data, MAX_BYTES["status-proof"]);
    if (!Array.isArray(parts) || parts.length !== 7) throw new Malformed("status proof must be an array of seven");
    const [, key, value, stateProof, block, path, note] = parts;
    if (typeof key !== "string" || !(value === null || value instanceof Uint8Array) || ![stateProof, block, note].every((part) => part instanceof Uint8Array)) throw new Malformed("a part of the status proof is of another type");
    if (!PRINTABLE.test(key) || (value === null && !NAMED.test(key))) throw new Malformed("key of no record that there can be");
    const parsed = { key, value, stateProof: parseStateProof(decode(stateProof, 16_384)), block: parseBlock(block), blockBytes: block, hashes: hashesOf(path), note, stated: parseCheckpoint(parseNote(note).text) };
    return [parsed, `${value === null ? "no record" : `a record of ${value.length} bytes`} under ${key}`];
  });
  if (proof === null || policy === null) {
    for (const name of ["checkpoint", "block", "record"]) checks.notReached(name, "a policy and a status proof");
    return;
  }
  const weighed = await checks.make("checkpoint", async () => {
    const found = await weigh(policy, proof.note);
    if (!found.log) throw new Untrue(`no listed log signed the checkpoint of ${found.checkpoint.origin}`);
    if (!found.met) throw new Untrue(`quorum ${policy.quorum} is not met: signed ${[...found.times.keys()].join(", ") || "none"}; missing ${found.missing.join(", ")}`);
    return [found, `${found.checkpoint.origin}, ${found.checkpoint.size} entries; ${policy.quorum}: cosigned by ${signers(found.times)}`];
  });
  const checkpoint = weighed?.checkpoint ?? proof.stated;
  await checks.make("block", async () => {
    const index = BigInt(proof.block.first + proof.block.count);
    if (index !== checkpoint.size - 1n) throw new Untrue(`the block record is not the last entry of the checkpoint: expected entry ${checkpoint.size - 1n}, got ${index}: the state may be older than the checkpoint`);
    await verifyInclusion(index, checkpoint.size, await leafHash(proof.blockBytes), proof.hashes, checkpoint.root);
    return [null, `block ${proof.block.height} of ${time(Math.floor(proof.block.time_ms / 1000))} is the last entry of that tree`];
  });
  await checks.make("record", async () => {
    await verifyStateProof(proof.block.state_root, proof.key, proof.value, proof.stateProof);
    return [null, `the state after that block ${proof.value === null ? "has no record" : "has exactly this record"} under ${proof.key}`];
  });
  const asOf = `as of ${time(Math.floor(proof.block.time_ms / 1000))}`;
  if (proof.value === null) report.summary = `${asOf} there is no ${proof.key}`;
  else if (checks.made.every(({ verdict }) => verdict === "holds")) {
    const record = readRecord(proof.key, proof.value);
    const custody = record.custody ? `, in the custody of ${record.custody}` : "";
    report.summary = `${asOf} ${record.sort} ${record.name} ${record.state ? `is ${record.state.replaceAll("_", " ")}${custody}` : "has a record"}`;
  }
}

// --- crossing pass

const PASSING = ["started", "at_border", "offered", "handed_over"];
const PASS_FIELDS = ["as_of_s", "containers", "custody", "declarations", "entry_post", "exit_post", "mrn", "origin", "root", "seals", "size", "state", "truck", "truck_keys", "until_s", "vehicle"];
const PASS_HEADER = concat(Uint8Array.of(0xa1, 0x03), spellText("application/comity.pass.v1+cbor"));
const LONGEST_PASS_S = 24 * 60 * 60;

function parsePass(data) {
  const parts = decode(data.subarray(2), MAX_BYTES.pass);
  if (!Array.isArray(parts) || parts.length !== 4) throw new Malformed("pass must be an array of four");
  const [body, unprotected, payload, signed] = parts;
  if (!(body instanceof Uint8Array) || !equal(body, PASS_HEADER) || !(unprotected instanceof Map) || unprotected.size) throw new Malformed("pass has another header");
  if (!(payload instanceof Uint8Array) || !Array.isArray(signed) || signed.length < 1 || signed.length > 16) throw new Malformed("pass must have a payload and 1 to 16 signatures");
  const facts = decode(payload, MAX_BYTES.pass);
  if (!(facts instanceof Map) || facts.size !== PASS_FIELDS.length || PASS_FIELDS.some((name) => !facts.has(name))) throw new Malformed("facts of a pass have other fields");
  const values = Object.fromEntries(facts);
  for (const name of ["as_of_s", "until_s"]) if (typeof values[name] !== "number") throw new Malformed(`${name} must be a number`);
  if (values.until_s <= values.as_of_s || values.until_s > values.as_of_s + LONGEST_PASS_S) throw new Malformed("pass counts for no time, or for longer than any does");
  for (const name of ["custody", "entry_post", "exit_post", "mrn", "origin", "state", "truck", "vehicle"]) if (typeof values[name] !== "string" || !values[name]) throw new Malformed(`${name} must be text`);
  for (const name of ["containers", "seals"]) if (!Array.isArray(values[name]) || values[name].some((each) => typeof each !== "string")) throw new Malformed(`${name} must be texts`);
  if (!Array.isArray(values.declarations) || values.declarations.some((each) => !Array.isArray(each) || each.length !== 6)) throw new Malformed("declarations must be arrays of six");
  const signatures = signed.map((each) => {
    const header = Array.isArray(each) && each.length === 3 && each[0] instanceof Uint8Array ? decode(each[0], 128) : null;
    const kid = header instanceof Map && header.size === 2 && header.get(1) === -8 ? header.get(4) : null;
    if (!(kid instanceof Uint8Array) || kid.length !== 32 || !(each[1] instanceof Map) || each[1].size || !(each[2] instanceof Uint8Array) || each[2].length !== 64) throw new Malformed("signature of a pass must be of EdDSA and name a kid");
    return { header: each[0], kid, signature: each[2] };
  });
  if (new Set(signatures.map(({ kid }) => hex(kid))).size !== signatures.length) throw new Malformed("one key has signed twice");
  return { facts: values, payload, signatures };
}

async function pass(checks, data, context, report) {
  report.notChecked = [
    "what happened since it was signed: a gate without a network learns of a suspension when the pass has expired",
    "whether it was shown before, here or at another gate: keep a list of the passes let through until they expire",
    "that the vehicle before you, its containers and its seals are those in the pass: read them and compare",
    "that the truck has its key: a challenge that it signs would show it",
  ];
  const policy = await policyOf(checks, context);
  const parsed = await checks.make("format", async () => {
    const found = parsePass(data);
    return [found, `movement ${found.facts.mrn} on ${found.facts.vehicle}, ${found.facts.exit_post} to ${found.facts.entry_post}`];
  });
  if (parsed === null || policy === null) checks.notReached("signatures", "a policy and a pass");
  else await checks.make("signatures", () => passSignatures(parsed, policy));
  if (parsed === null) {
    for (const name of ["time", "movement", "goods"]) checks.notReached(name, "a pass");
    return;
  }
  const { facts } = parsed;
  await checks.make("time", async () => {
    if (context.now > facts.until_s) throw new Untrue(`pass expired ${context.now - facts.until_s} s ago; it counted until ${time(facts.until_s)}`);
    if (context.now < facts.as_of_s - 60) throw new Untrue(`pass is not valid for another ${facts.as_of_s - context.now} s: is the clock right?`);
    return [null, `as of ${time(facts.as_of_s)}, counts until ${time(facts.until_s)}`];
  });
  await checks.make("movement", async () => {
    if (!PASSING.includes(facts.state)) throw new Untrue(`movement ${facts.mrn} is ${facts.state}: expected ${PASSING.join(", ")}`);
    if (!facts.truck_keys.length) throw new Untrue(`truck ${facts.truck} has no key in force: it is suspended, or its keys have ended`);
    return [null, `${facts.mrn} is ${facts.state}, in the custody of ${facts.custody}`];
  });
  await checks.make("goods", async () => {
    if (!facts.declarations.length) throw new Untrue("the pass has no declaration");
    for (const [ucr, planned, version, status, recognition, recognised] of facts.declarations) {
      if (status !== "released") throw new Untrue(`declaration ${ucr} is ${status}: expected released`);
      if (recognition !== "recognised") throw new Untrue(`recognition of declaration ${ucr} is ${recognition}: expected recognised`);
      if (recognised !== version || planned !== version) throw new Untrue(`declaration ${ucr} has version ${version}: recognised is ${recognised}, planned with was ${planned}`);
    }
    return [null, `released, recognised in the version planned with, not suspended: ${facts.declarations.map(([ucr, , version]) => `${ucr} (version ${version})`).join(", ")}`];
  });
  report.summary = `compare: vehicle ${facts.vehicle}; containers ${facts.containers.join(", ") || "none"}; seals ${facts.seals.join(", ") || "none"}`;
}

async function passSignatures({ facts, payload, signatures }, policy) {
  if (!policy.logs.some(({ key }) => key.name === facts.origin)) throw new Untrue(`made for another log: got ${facts.origin}`);
  const names = [];
  for (const { header, kid, signature } of signatures) {
    for (const { name, key } of policy.witnesses) {
      if (key.algorithm !== 4 || !equal(await kidOf(key.publicKey), kid)) continue;
      const message = concat(Uint8Array.of(0x85), spellText("Signature"), spellBytes(PASS_HEADER), spellBytes(header), Uint8Array.of(0x40), spellBytes(payload));
      await verifyEd25519(key.publicKey, message, signature, name);
      names.push(name);
    }
  }
  const found = witnessed(policy, names);
  if (!names.length || (policy.quorum !== "none" && !found.has(policy.quorum))) {
    const missing = policy.witnesses.map(({ name }) => name).filter((name) => !found.has(name));
    throw new Untrue(`quorum ${policy.quorum} is not met: signed ${names.join(", ") || "none"}; missing ${missing.join(", ")}`);
  }
  return [names, `${policy.quorum}: signed by ${names.join(", ")}, from entry ${facts.size} of ${facts.origin}`];
}

// --- crossing certificate

async function crossing(checks, data, context, report) {
  report.notChecked = [SIGNATURES, "what happened after the checkpoint", "positions of the truck, photos and other attachments: they are not in a certificate"];
  const policy = await policyOf(checks, context);
  const certificate = await checks.make("certificate", async () => {
    const found = await parseCrossing(data);
    return [found, `of movement ${found.mrn}, ${found.statements.length} statements`];
  });
  const checkpoint = await logAndQuorum(checks, policy, certificate?.note ?? null, report, "a policy and a certificate");
  if (certificate === null || checkpoint === null) {
    for (const name of ["inclusion", "genesis", "blocks", "story"]) checks.notReached(name, "a certificate and a checkpoint");
    return;
  }
  await checks.make("inclusion", async () => {
    const leaves = await Promise.all(certificate.entries.map(async ({ index, raw }) => [BigInt(index), await leafHash(raw)]));
    await verifyMultiproof(leaves, checkpoint.size, certificate.hashes, checkpoint.root);
    return [null, `${leaves.length} entries, of ${checkpoint.size}`];
  });
  await checks.make("genesis", async () => {
    const { genesis } = certificate;
    if (genesis.origin !== checkpoint.origin) throw new Untrue(`it begins another log: expected ${checkpoint.origin}, got ${genesis.origin}`);
    const named = policy?.logs.some(({ key }) => genesis.authorities.some(({ logKey }) => equal(logKey, key.publicKey)));
    const names = genesis.authorities.map(({ name, country }) => `${name} (${country})`).join(" and ");
    // Log keys are replaced, the genesis record never is. The check before ties it to the root that both cosigned.
    return [null, `log of ${names}${named ? "" : "; the policy's log key took the place of those in it"}`];
  });
  const times = await checks.make("blocks", async () => blockTimes(certificate, checkpoint));
  if (times === null) checks.notReached("story", "a certificate whose block records hold");
  const told = times === null ? null : await checks.make("story", async () => storyOf(certificate, times, report));
  if (certificate.record !== null) await movementRecord(checks, certificate, checkpoint, told);
  else report.notChecked.push(WITHOUT_RECORD);
  report.notChecked.push(NOT_IN_THE_RECORD);
}

async function parseCrossing(data) {
  const parts = decode(data, MAX_BYTES.crossing);
  if (!Array.isArray(parts) || parts.length !== 6) throw new Malformed("certificate must be an array of six");
  const [, mrn, note, hashes, pairs, record] = parts;
  if (typeof mrn !== "string" || !/^[0-9]{2}[A-Z]{2}[A-Z0-9]{13}[0-9]$/.test(mrn) || !(note instanceof Uint8Array)) throw new Malformed("certificate has no movement or no checkpoint");
  if (!Array.isArray(pairs) || !pairs.length || pairs.length > 2048) throw new Malformed("expected 1 to 2048 entries");
  let before = -1;
  const entries = [];
  for (const pair of pairs) {
    const [index, raw] = Array.isArray(pair) && pair.length === 2 ? pair : [];
    if (typeof index !== "number" || index <= before || !(raw instanceof Uint8Array)) throw new Malformed("expected entries by rising index");
    before = index;
    const entry = { index, raw };
    if (index === 0) entry.genesis = parseGenesis(raw);
    else if (isStatement(raw)) entry.statement = await parseStatement(raw);
    else entry.block = parseBlock(raw);
    entries.push(entry);
  }
  if (!entries[0].genesis) throw new Malformed("expected the genesis record first");
  const good = record === null || (Array.isArray(record) && record.length === 2 && record.every((part) => part instanceof Uint8Array));
  if (!good) throw new Malformed("expected null or [record, proof]");
  return { mrn, note, hashes: hashesOf(hashes), entries, record, genesis: entries[0].genesis, statements: entries.filter(({ statement }) => statement) };
}

function blockTimes(certificate, checkpoint) {
  const times = new Map();
  let waiting = [];
  let before = { height: 0, time_ms: 0, end: 1 };
  let count = 0;
  for (const { index, statement, block } of certificate.entries) {
    if (statement) waiting.push(index);
    if (!block) continue;
    if (block.first + block.count !== index || block.first < before.end) throw new Untrue(`entry ${index} is no record of a block that ends there`);
    if (block.height <= before.height || block.time_ms < before.time_ms) throw new Untrue(`block record ${index}: height and time do not rise`);
    if (!waiting.length && !(certificate.record !== null && BigInt(index) === checkpoint.size - 1n)) throw new Untrue(`block record ${index} closes none of the statements`);
    if (waiting.some((each) => each < block.first)) throw new Untrue(`statement ${waiting[0]}: the record of its block is not in the certificate`);
    for (const each of waiting) times.set(each, block.time_ms);
    waiting = [];
    before = { ...block, end: index + 1 };
    count += 1;
  }
  if (waiting.length) throw new Untrue(`statement ${waiting[0]}: the record of its block is not in the certificate`);
  return [times, `${count} block records`];
}

// A payload may be of any shape where nothing before it held.
function storyOf(certificate, times, report) {
  try {
    return story(certificate, times, report);
  } catch (error) {
    throw error instanceof TypeError ? new Malformed("a payload is of another shape than its contract has it") : error;
  }
}

const sealsIn = (seals) => [...seals].map(([id, state]) => `${id} ${state}`).sort().join(", ");

function story(certificate, times, report) {
  const order = new Order();
  const custody = [];
  let plan = null;
  for (const { index, statement } of certificate.statements) {
    const [contract, event] = statement.kind.split(".");
    const authority = authorityOf(certificate.genesis, statement.issuer);
    if (contract === "escort" && statement.subject === certificate.mrn) {
      const before = order.state;
      order.take(index, event, statement.payload, statement.issuer, authority);
      if (event === "plan") {
        plan = statement.payload;
        custody.push([authority, plan.get("carrier"), index]);
      }
      if (order.state === "handed_over" && before !== "handed_over" && ["accept", "resolve"].includes(event)) {
        const other = certificate.genesis.authorities.map(({ name }) => name).filter((name) => name !== custody[0][0]);
        custody.push([event === "accept" ? authority : other.join(" or "), plan.get("receiver"), index]);
      }
    } else if (contract !== "declaration" || (plan !== null && !plan.get("declarations").includes(statement.subject))) {
      throw new Untrue(`entry ${index}: ${statement.kind} about ${statement.subject} does not belong`);
    }
    report.told.push({ at: time(Math.floor(times.get(index) / 1000)), what: EVENTS[statement.kind] ?? statement.kind, by: statement.issuer, index });
  }
  if (plan === null) throw new Untrue(`no statement plans movement ${certificate.mrn}`);
  const [holder, liable, since] = custody.at(-1);
  const state = order.state.replaceAll("_", " ");
  const unproven = certificate.record === null ? "; that nothing came after it is not proven" : "";
  report.summary = `movement ${certificate.mrn} is ${state}; custody is with ${holder}, and ${liable} is liable${unproven}`;
  report.notChecked.push("that the declarations were decided in the order of their contract: comity verify checks it");
  const incidents = certificate.statements.filter(({ statement }) => statement.kind === "escort.incident" && statement.subject === certificate.mrn).length;
  const idAt = (index) => hex(certificate.statements.find((each) => each.index === index).statement.id);
  const said = { custody: holder, "liable party": liable, handover: idAt(since), plan: idAt(custody[0][2]), vehicle: order.vehicle, containers: order.containers.join(" "), incidents, seals: sealsIn(order.seals) };
  return [{ said, states: order.statesNow() }, `${state}, custody ${holder}, liable ${liable}`];
}

async function movementRecord(checks, certificate, checkpoint, told) {
  if (checks.made.some(({ verdict }) => verdict !== "holds")) return checks.notReached("record", "all that is before it");
  await checks.make("record", async () => {
    const last = certificate.entries.at(-1);
    if (!last.block || BigInt(last.index) !== checkpoint.size - 1n) throw new Untrue("the block record that closes the log is not in the certificate");
    const [value, proof] = certificate.record;
    const key = `escort/${certificate.mrn}`;
    await verifyStateProof(last.block.state_root, key, value, parseStateProof(decode(proof, 16_384)));
    const record = readRecord(key, value);
    const found = { custody: record.custody, "liable party": record.liable, handover: hex(record.handover), plan: hex(record.planned), vehicle: record.vehicle, containers: record.containers.join(" "), incidents: Number(record.incidents), seals: sealsIn(record.seals) };
    for (const [name, got] of Object.entries(found)) if (got !== told.said[name]) throw new Untrue(`${name}: the record says ${got}, the statements ${told.said[name]}`);
    // A time limit may have passed of which no statement tells; nothing else changes a state without one.
    if (!told.states.includes(record.state)) throw new Untrue(`state: the record says ${record.state}, the statements ${told.states[0]}`);
    return [null, `${record.state.replaceAll("_", " ")} as of entry ${last.index}`];
  });
  return null;
}

