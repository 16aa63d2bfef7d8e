// RFC 6962 trees and the authenticated state map, as far as a verifier needs them. SHA-256 by WebCrypto.
//
// Sizes and indexes are BigInt: a tree may have 2^63 - 1 leaves.

import { concat, equal, hex, Malformed } from "./cbor.js";

export class Untrue extends Error {}

export const MAX_TREE_SIZE = (1n << 63n) - 1n;
const EMPTY = new Uint8Array(32);

export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}

export const leafHash = (entry) => sha256(Uint8Array.of(0), entry);
export const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

const bitLength = (value) => (value === 0n ? 0 : value.toString(2).length);
const bitCount = (value) => value.toString(2).replaceAll("0", "").length;

export async function verifyInclusion(index, size, leaf, proof, root) {
  if (index < 0n || index >= size) throw new Untrue(`leaf is not in the tree: expected an index below ${size}, got ${index}`);
  const inner = bitLength(index ^ (size - 1n));
  const expected = inner + bitCount(index >> BigInt(inner));
  if (proof.length !== expected) throw new Untrue(`inclusion proof has wrong length: expected ${expected}, got ${proof.length}`);
  let computed = leaf;
  for (let height = 0; height < proof.length; height++) {
    const left = height >= inner || (index >> BigInt(height)) & 1n;
    computed = left ? await nodeHash(proof[height], computed) : await nodeHash(computed, proof[height]);
  }
  if (!equal(computed, root)) throw new Untrue(`inclusion proof leads to another root: expected ${hex(root)}, got ${hex(computed)}`);
}

const split = (count) => 1n << BigInt(bitLength(count - 1n) - 1);

// One proof for many leaves: docs/formats.md, "Crossing certificate". `leaves` is [[index, hash], ...], indexes rising.
export async function verifyMultiproof(leaves, size, proof, root) {
  const last = leaves.at(-1)?.[0];
  if (last === undefined || last >= size) throw new Untrue(`leaf is not in the tree: expected an index below ${size}, got ${last}`);
  const expected = countParts(leaves, 0n, size);
  if (proof.length !== expected) throw new Untrue(`inclusion proof has wrong length: expected ${expected}, got ${proof.length}`);
  const rest = proof[Symbol.iterator]();
  const computed = await rootOf(leaves, 0n, size, rest);
  if (!equal(computed, root)) throw new Untrue(`inclusion proof leads to another root: expected ${hex(root)}, got ${hex(computed)}`);
}

function halves(leaves, start, stop) {
  const middle = start + split(stop - start);
  const left = leaves.filter(([index]) => index < middle);
  return [middle, left, leaves.slice(left.length)];
}

function countParts(leaves, start, stop) {
  if (leaves.length === 0) return 1;
  if (stop - start === 1n) return 0;
  const [middle, left, right] = halves(leaves, start, stop);
  return countParts(left, start, middle) + countParts(right, middle, stop);
}

async function rootOf(leaves, start, stop, proof) {
  if (leaves.length === 0) return proof.next().value;
  if (stop - start === 1n) return leaves[0][1];
  const [middle, left, right] = halves(leaves, start, stop);
  const first = await rootOf(left, start, middle, proof);
  return nodeHash(first, await rootOf(right, middle, stop, proof));
}

// --- the state map: docs/formats.md, "State proof"

const digit = (path, depth) => (depth & 1 ? path[depth >> 1] & 15 : path[depth >> 1] >> 4);
const quadHash = (children) => (children.every((child) => equal(child, EMPTY)) ? EMPTY : sha256(Uint8Array.of(3), ...children));

export function parseStateProof(fields) {
  const bad = (why) => new Malformed(`state proof: ${why}`);
  if (!Array.isArray(fields) || fields.length !== 3) throw bad("expected an array of three");
  const [bitmaps, hashes, other] = fields;
  if (!(bitmaps instanceof Uint8Array) || !(hashes instanceof Uint8Array)) throw bad("bitmaps and hashes are not byte strings");
  if (bitmaps.length > 64 || bitmaps.some((bitmap) => bitmap >> 6)) throw bad("too deep, or a spare bit is set");
  let at = 0;
  const pages = [];
  for (const bitmap of bitmaps) {
    const page = Array(6).fill(EMPTY);
    for (let bit = 0; bit < 6; bit++) {
      if (!((bitmap >> bit) & 1)) continue;
      page[bit] = hashes.subarray(at, at + 32);
      at += 32;
      if (page[bit].length !== 32 || equal(page[bit], EMPTY)) throw bad("a hash is missing, or an empty one is spelled out");
    }
    pages.push(page);
  }
  if (at !== hashes.length) throw bad(`expected ${at} bytes of hashes, got ${hashes.length}`);
  if (other !== null && !(other instanceof Uint8Array && other.length === 64)) throw bad("the other entry is not 64 bytes");
  return { pages, other };
}

export async function verifyStateProof(root, key, value, proof) {
  const path = await sha256(new TextEncoder().encode(key));
  let found = EMPTY;
  if (proof.other !== null) {
    const otherPath = proof.other.subarray(0, 32);
    if (value !== null) throw new Untrue("state proof shows another entry in place of the key, expected its value");
    if (equal(otherPath, path)) throw new Untrue("state proof of absence shows the key itself");
    for (let depth = 0; depth < proof.pages.length; depth++)
      if (digit(otherPath, depth) !== digit(path, depth)) throw new Untrue("state proof shows an entry that does not sit where the key would");
    found = await sha256(Uint8Array.of(1), proof.other);
  } else if (value !== null) {
    found = await sha256(Uint8Array.of(1), path, await sha256(value));
  }
  for (let depth = proof.pages.length - 1; depth >= 0; depth--) {
    const siblings = proof.pages[depth];
    const within = digit(path, depth) & 3;
    const quad = digit(path, depth) >> 2;
    const children = [...siblings.slice(0, within), found, ...siblings.slice(within, 3)];
    const others = siblings.slice(3);
    found = await sha256(Uint8Array.of(2), ...others.slice(0, quad), await quadHash(children), ...others.slice(quad));
  }
  if (!equal(found, root)) throw new Untrue(`state proof leads to root ${hex(found)}, expected ${hex(root)}`);
}
