// C2SP signed-note, tlog-checkpoint, tlog-cosignature (Ed25519) and tlog-policy. Ed25519 by WebCrypto.
//
// What this page does not check are post-quantum cosignatures (ML-DSA-44): it counts their signers as missing, and says
// so. `comity verify` checks them.

import { equal, hex, Malformed, spellBytes } from "./cbor.js";
import { sha256, Untrue, MAX_TREE_SIZE } from "./trees.js";

const LOG = 1;
const COSIGNATURE = 4;
const POST_QUANTUM = 6;
const MAX_NOTE_BYTES = 256 * 1024;
const MAX_POLICY_BYTES = 256 * 1024;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class NoEd25519 extends Error {}

export function fromBase64(text, what) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new Malformed(`${what} is not base64`);
  }
  if (toBase64(bytes) !== text) throw new Malformed(`${what} is not canonical base64`);
  return bytes;
}

export const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

function utf8(bytes, what) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Malformed(`${what} is not utf-8`);
  }
}

// A name of a key: not empty, no space of any script, no plus, no control character.
const isKeyName = (name) => /^[^\s+\x00-\x1f]+$/u.test(name) && encoder.encode(name).length <= 255;

export async function verifyEd25519(publicKey, message, signature, name) {
  let key;
  try {
    key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  } catch (error) {
    throw new NoEd25519(`this browser cannot check Ed25519 signatures (${error.name})`);
  }
  if (!(await crypto.subtle.verify("Ed25519", key, signature, message))) throw new Untrue(`bad_signature: signature of ${name} does not verify`);
}

export async function canVerify() {
  try {
    await crypto.subtle.importKey("raw", new Uint8Array(32).fill(0).map((_, at) => (at ? 0 : 1)), "Ed25519", false, ["verify"]);
    return true;
  } catch {
    return false;
  }
}

// --- notes and checkpoints

export function parseNote(bytes) {
  if (bytes.length > MAX_NOTE_BYTES) throw new Malformed(`note is too large: expected at most ${MAX_NOTE_BYTES} bytes, got ${bytes.length}`);
  const whole = utf8(bytes, "note");
  if (/[\x00-\x09\x0b-\x1f]/.test(whole)) throw new Malformed("note holds a control character other than newline");
  const blank = whole.lastIndexOf("\n\n");
  if (blank < 0 || !whole.endsWith("\n")) throw new Malformed("note must be text, an empty line, and signature lines that end in a newline");
  const lines = whole.slice(blank + 2, -1).split("\n");
  if (lines.length > 64) throw new Malformed(`too many signatures: expected at most 64, got ${lines.length}`);
  const signatures = lines.map((line) => {
    const match = /^— ([^ ]+) ([A-Za-z0-9+/=]+)$/u.exec(line);
    if (!match || !isKeyName(match[1])) throw new Malformed(`not a signature line: ${line.slice(0, 80)}`);
    const data = fromBase64(match[2], `signature of ${match[1]}`);
    if (data.length <= 4) throw new Malformed(`signature of ${match[1]} is too short`);
    return { name: match[1], keyId: hex(data.subarray(0, 4)), signature: data.subarray(4) };
  });
  return { text: whole.slice(0, blank + 1), signatures };
}

export function parseCheckpoint(text) {
  const lines = text.split("\n");
  if (lines.length !== 4 || lines[3] !== "") throw new Malformed(`checkpoint must be three lines: got ${lines.length - 1}`);
  const [origin, sizeLine, rootLine] = lines;
  if (!isKeyName(origin)) throw new Malformed("origin must be usable as a key name");
  const size = decimal(sizeLine, "tree size");
  const root = fromBase64(rootLine, "root hash");
  if (root.length !== 32) throw new Malformed(`root hash has wrong length: expected 32 bytes, got ${root.length}`);
  return { origin, size, root };
}

export function decimal(text, what) {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text) || BigInt(text) > MAX_TREE_SIZE) throw new Malformed(`${what} is not a canonical decimal: got ${text.slice(0, 40)}`);
  return BigInt(text);
}

// --- policies

async function parseVkey(text) {
  const [name, id, encoded] = [text.split("+", 1)[0], ...text.slice(text.indexOf("+") + 1).split(/\+(.*)/s)];
  if (!isKeyName(name) || encoded === undefined) throw new Malformed(`not a vkey, name+id+key: ${text.slice(0, 80)}`);
  const data = fromBase64(encoded, `vkey of ${name}`);
  const expected = hex((await sha256(encoder.encode(`${name}\n`), data)).subarray(0, 4));
  if (expected !== id) throw new Malformed(`vkey of ${name} has the wrong id: expected ${expected}, got ${id.slice(0, 8)}`);
  const key = { name, id, algorithm: data[0], publicKey: data.subarray(1) };
  if (![LOG, COSIGNATURE, POST_QUANTUM].includes(key.algorithm)) throw new Malformed(`vkey of ${name} is of an unknown type: ${key.algorithm}`);
  if (key.algorithm !== POST_QUANTUM && key.publicKey.length !== 32) throw new Malformed(`vkey of ${name} holds no good key`);
  return key;
}

export async function parsePolicy(bytes) {
  if (bytes.length > MAX_POLICY_BYTES) throw new Malformed(`policy is too large: expected at most ${MAX_POLICY_BYTES} bytes`);
  const text = utf8(bytes, "policy");
  if (!text.endsWith("\n")) throw new Malformed("last line does not end in a newline: is the file cut short?");
  if (/[^\t\n\x20-\x7e\x80-\uffff]/u.test(text.replace(/[\u{10000}-\u{10ffff}]/gu, ""))) throw new Malformed("octet is not allowed");
  const policy = { logs: [], witnesses: [], groups: [], quorum: null };
  const names = new Set();
  const grouped = new Set();
  const define = (name) => {
    if (name === "none" || names.has(name)) throw new Malformed(`name is defined twice: ${name}`);
    names.add(name);
  };
  for (const [number, line] of text.split("\n").entries()) {
    const items = line.split(/[ \t]+/).filter((item) => item !== "");
    if (items.length === 0 || items[0].startsWith("#")) continue;
    try {
      await policyLine(policy, items, define, names, grouped);
    } catch (error) {
      throw new Malformed(`line ${number + 1}: ${error.message}`);
    }
  }
  if (policy.quorum === null) throw new Malformed("quorum line is missing");
  return policy;
}

async function policyLine(policy, [keyword, ...items], define, names, grouped) {
  const count = (least, most) => {
    if (items.length < least || items.length > most) throw new Malformed("line has the wrong number of items");
  };
  const fresh = (known, key) => {
    if (known.some((each) => equal(each.key.publicKey, key.publicKey))) throw new Malformed(`key stands twice: ${key.name}`);
  };
  if (keyword === "log") {
    count(1, 2);
    const key = await parseVkey(items[0]);
    fresh(policy.logs, key);
    if (key.algorithm === COSIGNATURE) throw new Malformed(`key of ${key.name} is no log's`);
    policy.logs.push({ key });
  } else if (keyword === "witness") {
    count(2, 3);
    const key = await parseVkey(items[1]);
    fresh(policy.witnesses, key);
    if (key.algorithm === LOG) throw new Malformed(`key of ${key.name} is no witness's`);
    define(items[0]);
    policy.witnesses.push({ name: items[0], key });
  } else if (keyword === "group") {
    count(3, 10_000);
    const [name, word, ...members] = items;
    for (const member of members) {
      if (!names.has(member)) throw new Malformed(`group ${name} has an undefined member: ${member}`);
      if (grouped.has(member)) throw new Malformed(`${member} is a member twice`);
      grouped.add(member);
    }
    const threshold = word === "all" ? members.length : word === "any" ? 1 : /^[1-9][0-9]{0,2}$/.test(word) ? Number(word) : 0;
    if (threshold < 1 || threshold > members.length) throw new Malformed(`threshold of group ${name} is wrong`);
    define(name);
    policy.groups.push({ name, threshold, members });
  } else if (keyword === "quorum") {
    count(1, 1);
    if (policy.quorum !== null) throw new Malformed("quorum is defined twice");
    if (items[0] !== "none" && !names.has(items[0])) throw new Malformed(`quorum is undefined: ${items[0]}`);
    [policy.quorum] = items;
  } else {
    throw new Malformed(`unknown keyword: ${keyword.slice(0, 40)}`);
  }
}

export function witnessed(policy, names) {
  const found = new Set(names);
  for (const group of policy.groups) if (group.members.filter((member) => found.has(member)).length >= group.threshold) found.add(group.name);
  return found;
}

// Every signature of a known key is checked, and one that is bad spoils all. Who signed, and whether that is enough.
export async function weigh(policy, noteBytes) {
  const note = parseNote(noteBytes);
  const checkpoint = parseCheckpoint(note.text);
  const times = new Map();
  let log = false;
  const unchecked = [];
  for (const { name, keyId, signature } of note.signatures) {
    const known = (list) => list.find(({ key }) => key.name === name && key.id === keyId);
    const knownLog = known(policy.logs);
    const witness = known(policy.witnesses);
    for (const each of [knownLog, witness]) if (each && each.key.algorithm === POST_QUANTUM) unchecked.push(name);
    if (knownLog && knownLog.key.algorithm === LOG) {
      await verifyEd25519(knownLog.key.publicKey, encoder.encode(note.text), signature, name);
      log ||= checkpoint.origin === name;
    }
    if (witness && witness.key.algorithm === COSIGNATURE) {
      if (signature.length !== 72) throw new Malformed(`cosignature of ${name} has wrong length: expected 72 bytes, got ${signature.length}`);
      const at = signature.subarray(0, 8).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
      if (at > MAX_TREE_SIZE) throw new Malformed(`time of the cosignature of ${name} exceeds 2^63-1 s`);
      await verifyEd25519(witness.key.publicKey, encoder.encode(`cosignature/v1\ntime ${at}\n${note.text}`), signature.subarray(8), name);
      if (!times.has(witness.name)) times.set(witness.name, at);
    }
  }
  const found = witnessed(policy, times.keys());
  const met = policy.quorum === "none" || found.has(policy.quorum);
  const missing = [...policy.groups, ...policy.witnesses].map(({ name }) => name).filter((name) => !found.has(name));
  return { checkpoint, log, times, met, missing, unchecked };
}

// The thumbprint (RFC 9679) by which COSE names a validator's Ed25519 key.
export const kidOf = (publicKey) => sha256(Uint8Array.of(0xa3, 0x01, 0x01, 0x20, 0x06, 0x21), spellBytes(publicKey));

