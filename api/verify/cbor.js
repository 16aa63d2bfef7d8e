// Deterministic CBOR: RFC 8949 section 4.2.1, as docs/formats.md restricts it. One value has one spelling.
//
// Promises: `decode` takes exactly the canonical bytes: shortest heads, definite lengths, keys in bytewise order and
// each once, valid UTF-8, nothing after the item, no tags, floats or other simple values. Integers come as Number
// where that is exact and as BigInt beyond it, byte strings as Uint8Array, maps as Map.

export class Malformed extends Error {}

export const MAX_DEPTH = 16;
export const MAX_ITEMS = 1 << 17;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ascii = new TextEncoder();

export function equal(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

export function compare(one, other) {
  const shorter = Math.min(one.length, other.length);
  for (let at = 0; at < shorter; at++) if (one[at] !== other[at]) return one[at] - other[at];
  return one.length - other.length;
}

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function decode(data, maxBytes) {
  if (data.length > maxBytes) throw new Malformed(`cbor is too large: expected at most ${maxBytes} bytes, got ${data.length}`);
  const reader = { data, at: 0, items: 0 };
  const value = item(reader, MAX_DEPTH);
  if (reader.at !== data.length) throw new Malformed(`bytes follow the cbor item: expected ${reader.at} bytes, got ${data.length}`);
  return value;
}

function take(reader, count) {
  const end = reader.at + count;
  if (end > reader.data.length) throw new Malformed(`cbor ends early: got ${reader.data.length} bytes`);
  const bytes = reader.data.subarray(reader.at, end);
  reader.at = end;
  return bytes;
}

function argument(reader, information) {
  if (information < 24) return information;
  if (information > 27) throw new Malformed(`length is indefinite or reserved at byte ${reader.at}`);
  const width = 1 << (information - 24);
  let value = 0n;
  for (const byte of take(reader, width)) value = (value << 8n) | BigInt(byte);
  const least = width === 1 ? 24n : 1n << BigInt(4 * width);
  if (value < least) throw new Malformed(`argument is not in its shortest form at byte ${reader.at}`);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

function length(reader, information) {
  const count = argument(reader, information);
  if (typeof count === "bigint" || count > reader.data.length) throw new Malformed("cbor ends early");
  return count;
}

function item(reader, depth) {
  if (++reader.items > MAX_ITEMS) throw new Malformed(`cbor has too many items: expected at most ${MAX_ITEMS}`);
  const initial = take(reader, 1)[0];
  const major = initial >> 5;
  const information = initial & 31;
  if (major === 0) return argument(reader, information);
  if (major === 1) {
    const value = argument(reader, information);
    if (typeof value === "bigint" && value >= 1n << 63n) throw new Malformed("integer is below -2^63");
    return typeof value === "bigint" ? -1n - value : -1 - value;
  }
  if (major === 2) return take(reader, length(reader, information)).slice();
  if (major === 3) return text(take(reader, length(reader, information)));
  if (major === 4 || major === 5) {
    if (depth === 0) throw new Malformed(`value is nested too deeply: expected at most ${MAX_DEPTH} levels`);
    const count = length(reader, information);
    return major === 4 ? array(reader, count, depth - 1) : map(reader, count, depth - 1);
  }
  if (initial === 0xf4) return false;
  if (initial === 0xf5) return true;
  if (initial === 0xf6) return null;
  throw new Malformed(`type is not supported at byte ${reader.at - 1}: got 0x${initial.toString(16)}`);
}

function text(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Malformed("text is not utf-8");
  }
}

function array(reader, count, depth) {
  const values = [];
  for (let number = 0; number < count; number++) values.push(item(reader, depth));
  return values;
}

function map(reader, count, depth) {
  const values = new Map();
  let before = null;
  for (let number = 0; number < count; number++) {
    const start = reader.at;
    const key = item(reader, depth);
    const spelling = reader.data.subarray(start, reader.at);
    if (typeof key !== "string" && typeof key !== "number" && typeof key !== "bigint") throw new Malformed("map key must be text or an integer");
    if (before !== null && compare(before, spelling) >= 0) throw new Malformed("map keys are not in order, or one stands twice");
    before = spelling;
    values.set(key, item(reader, depth));
  }
  return values;
}

// --- writing what is signed: heads, texts and byte strings are all that a Sig_structure has.

export function head(major, count) {
  if (count < 24) return Uint8Array.of((major << 5) | count);
  if (count < 1 << 8) return Uint8Array.of((major << 5) | 24, count);
  if (count < 1 << 16) return Uint8Array.of((major << 5) | 25, count >> 8, count & 255);
  return Uint8Array.of((major << 5) | 26, count >>> 24, (count >> 16) & 255, (count >> 8) & 255, count & 255);
}

export const spellBytes = (bytes) => concat(head(2, bytes.length), bytes);

export function spellText(text) {
  const bytes = ascii.encode(text);
  return concat(head(3, bytes.length), bytes);
}
