// Entries of the log as their bytes say: statements, block records, the genesis record; and records of the state.

import { decode, Malformed } from "./cbor.js";
import { leafHash, Untrue } from "./trees.js";
import { DEADLINES, INCIDENT_CONSEQUENCES, MOVEMENT_PROGRESS, ROWS, SEAL_BREAKING, VEHICLE_CHANGES } from "./tables.js";

const MAX_STATEMENT_BYTES = 32 * 1024;
const KIND = /^application\/comity\.([a-z][a-z0-9_]*\.[a-z][a-z0-9_]*)\.v1\+cbor$/;

function fields(map, names, what) {
  if (!(map instanceof Map) || map.size !== names.length || names.some((name) => !map.has(name))) throw new Malformed(`${what} has not exactly the fields ${names.join(", ")}`);
  return Object.fromEntries(map);
}

export const isStatement = (raw) => raw[0] === 0xd2;

export async function parseStatement(raw) {
  if (raw.length > MAX_STATEMENT_BYTES) throw new Malformed(`statement is too large: at most ${MAX_STATEMENT_BYTES} bytes`);
  if (!isStatement(raw)) throw new Malformed("statement must start with tag 18 (cose_sign1)");
  const parts = decode(raw.subarray(1), MAX_STATEMENT_BYTES);
  if (!Array.isArray(parts) || parts.length !== 4) throw new Malformed("cose_sign1 must be an array of four");
  const [protectedHeader, unprotected, payloadBytes, signature] = parts;
  if (!(unprotected instanceof Map) || unprotected.size) throw new Malformed("unprotected header must be empty, as nothing vouches for it");
  if (![protectedHeader, payloadBytes, signature].every((part) => part instanceof Uint8Array)) throw new Malformed("header, payload and signature must be byte strings");
  const header = fields(decode(protectedHeader, 1024), [1, 3, 4, 15], "protected header");
  const claims = fields(header[15], [1, 2, 6, 7], "claims");
  const kind = typeof header[3] === "string" && KIND.exec(header[3]);
  if (!kind || ![-7, -8].includes(header[1]) || header[4]?.length !== 32 || claims[7]?.length !== 16 || signature.length !== 64) throw new Malformed("header of the statement is none of ours");
  if (typeof claims[1] !== "string" || typeof claims[2] !== "string" || typeof claims[6] !== "number") throw new Malformed("claims of the statement are none of ours");
  const payload = decode(payloadBytes, MAX_STATEMENT_BYTES);
  if (!(payload instanceof Map)) throw new Malformed("payload must be a map");
  return { raw, kind: kind[1], issuer: claims[1], subject: claims[2], signedAt: claims[6], payload, id: await leafHash(raw) };
}

const BLOCK = ["count", "first", "height", "previous", "proposer", "state_root", "time_ms", "type"];

export function parseBlock(raw) {
  const block = fields(decode(raw, 512), BLOCK, "block record");
  if (block.type !== "comity.block.v1" || block.state_root?.length !== 32) throw new Malformed("not a block record");
  for (const name of ["count", "first", "height", "time_ms"]) if (typeof block[name] !== "number" || block[name] < 0) throw new Malformed(`block record: ${name} is no number`);
  return block;
}

export function parseGenesis(raw) {
  const genesis = decode(raw, 1 << 20);
  if (!(genesis instanceof Map) || genesis.get("type") !== "comity.genesis.v1" || !Array.isArray(genesis.get("authorities"))) throw new Malformed("not a genesis record");
  const authorities = genesis.get("authorities").map((each) => {
    const [name, country, logKey] = ["name", "country", "log_key"].map((field) => each.get(field));
    return { name, country, logKey };
  });
  return { origin: genesis.get("origin"), authorities };
}

export function authorityOf(genesis, participant) {
  const namespace = participant.split("/", 1)[0];
  return genesis.authorities.find(({ name, country }) => namespace === name || namespace === country.toLowerCase())?.name ?? "";
}

// --- what a record of the state says, as far as a gate needs it

export function readRecord(key, value) {
  const record = decode(value, 256 * 1024);
  const [tag] = Array.isArray(record) ? record : [];
  if (tag === "movement.v1") {
    const [, plan, custody, sealed, , , , progress] = record;
    const state = progress[MOVEMENT_PROGRESS.indexOf("state")];
    const vehicle = progress[MOVEMENT_PROGRESS.indexOf("vehicle")];
    const incidents = progress[MOVEMENT_PROGRESS.indexOf("incident_count")];
    const [planned, handover, containers] = [plan.at(-1), custody.at(-1), plan[6]];
    const seals = new Map(sealed.map(([id, , , , sealState]) => [id, sealState]));
    return { sort: "movement", name: plan[0], state, custody: custody[0], liable: custody[1], vehicle, incidents, planned, handover, containers, seals };
  }
  if (tag === "declaration.v1") return { sort: "declaration", name: record[1], state: record[2] };
  return { sort: key.split("/", 1)[0], name: key.slice(key.indexOf("/") + 1), state: "" };
}

// --- the order of a movement's statements, by the table of its contract (contracts/crossing_story.py)

export class Order {
  state = "-";
  vehicle = "";
  containers = [];
  seals = new Map();
  #cameFrom = "";
  #opened = new Set();
  #truck = "";
  #atBorder = new Set();
  #decisions = new Map();
  #vehicleChanged = false;
  #incidentVehicle = "";

  // The state after the next statement; Untrue if it cannot be the next.
  take(index, event, payload, issuer, authority) {
    if (!ROWS[`${this.state} ${event}`]) {
      const lapsed = DEADLINES[this.state];
      if (!lapsed || !ROWS[`${lapsed} ${event}`]) throw new Untrue(`entry ${index}, escort.${event}, does not follow from the statements before it: the movement is ${this.state.replace("-", "not there yet")}`);
      this.#cameFrom = this.state;
      this.state = lapsed;
    }
    if (event === "plan") [this.#truck, this.vehicle, this.containers] = ["truck", "vehicle", "containers"].map((name) => payload.get(name));
    if (event === "resume") this.#resume(payload);
    this.#seal(index, event, payload);
    const row = ROWS[`${this.state} ${event}`];
    const to = this.#after(row, event, payload, issuer, authority);
    if (!row.includes(to)) throw new Untrue(`entry ${index}, escort.${event}, cannot bring the movement from ${this.state} to ${to}`);
    this.state = to;
    return to;
  }

  // Where movements can stand now: as the last statement left it, or where the passing of a time limit leads.
  statesNow() {
    return DEADLINES[this.state] ? [this.state, DEADLINES[this.state]] : [this.state];
  }

  #resume(payload) {
    this.#truck = payload.get("truck") ?? this.#truck;
    const vehicle = payload.get("vehicle") || this.#incidentVehicle || this.vehicle;
    this.#end("broken", "replaced");
    if (this.#vehicleChanged || vehicle !== this.vehicle) {
      // What closed the old vehicle closes nothing now, and an offer of it is taken back.
      this.#end("intact", "removed");
      if (this.#cameFrom === "offered") this.#cameFrom = "at_border";
    }
    this.vehicle = vehicle;
    this.containers = payload.get("containers") ?? this.containers;
    this.#vehicleChanged = false;
  }

  #end(from, to, which = () => true) {
    for (const [id, state] of this.seals) if (state === from && which(id)) this.seals.set(id, to);
  }

  // What becomes of the seals: new ones are those with a class, the others that a statement names are readings.
  #seal(index, event, payload) {
    const named = payload.get("seals") ?? [];
    const read = new Map(named.filter((each) => !each.has("class")).map((each) => [each.get("id"), each.get("state")]));
    // One that was read twice is among them if it was found open once.
    if (event === "accept_with_differences") this.#opened = new Set(named.filter((each) => each.get("state") !== "intact").map((each) => each.get("id")));
    if (event === "resolve" && named.length) this.#end("intact", "replaced", (id) => this.#opened.has(id));
    if (event === "incident" && SEAL_BREAKING.includes(payload.get("code"))) {
      if (!this.seals.has(payload.get("seal"))) throw new Untrue(`entry ${index}: seal ${payload.get("seal")} was not put on`);
      this.seals.set(payload.get("seal"), "broken");
    }
    if (event === "unload") {
      for (const [id, state] of this.seals) {
        if (state !== "intact") continue;
        if (!read.has(id)) throw new Untrue(`entry ${index}: seal ${id} is in force and was not read`);
        this.seals.set(id, read.get(id) === "intact" ? "removed" : read.get(id));
      }
    }
    for (const each of named.filter((one) => one.has("class"))) {
      if (this.seals.has(each.get("id"))) throw new Untrue(`entry ${index}: seal ${each.get("id")} was put on before`);
      this.seals.set(each.get("id"), "intact");
    }
  }

  #after(row, event, payload, issuer, authority) {
    if (event === "reach_border") {
      this.#atBorder.add(issuer === this.#truck);
      return this.#atBorder.size === 2 ? "at_border" : this.state;
    }
    if (event === "resolve") {
      this.#decisions.set(authority, payload.get("decision"));
      const others = [...this.#decisions].filter(([name]) => name !== authority).map(([, made]) => made);
      return others.includes(payload.get("decision")) ? payload.get("decision") : this.state;
    }
    if (event === "unload") return payload.get("as_declared") ? "discharged" : "unloaded";
    if (event === "incident") {
      const consequence = INCIDENT_CONSEQUENCES[payload.get("code")];
      if (consequence === "held") this.#cameFrom = this.state;
      this.#vehicleChanged ||= VEHICLE_CHANGES.includes(payload.get("code"));
      this.#incidentVehicle = payload.get("vehicle") ?? "";
      return consequence === "same" ? this.state : consequence;
    }
    if (event === "resume") return this.#cameFrom;
    if (event === "resolve_overdue") return { continue: this.#cameFrom, abort: "aborted", recover: "recovery" }[payload.get("decision")];
    return row.includes(this.state) ? this.state : row[0];
  }
}

