// The page: files in, reports out. Everything shown is put in as text, never as markup.

import { equal, hex } from "./cbor.js";
import { kindOf, verify } from "./checks.js";
import { canVerify, fromBase64, parsePolicy, toBase64 } from "./notes.js";
import { sha256 } from "./trees.js";
import { LANGUAGES, words } from "./words.js";

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const POLICY_KEY = "comity.policy";
const LANGUAGE_KEY = "comity.language";
const SCAN_EVERY_MS = 250;

const element = (id) => document.getElementById(id);
let language = localStorage.getItem(LANGUAGE_KEY) ?? navigator.language.slice(0, 2);
let policy = null;
let named = null; // the SHA-256 of the certificate that a scanned code names
let camera = null;

// What moves, hides or turns around other text is spelled out: names in a file are its maker's.
const plain = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = plain(text);
  return made;
}

// --- words

function speak(code) {
  language = code in LANGUAGES ? code : "en";
  const said = words(language);
  document.documentElement.lang = language;
  document.title = said.title;
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = said[each.dataset.word];
  if (camera !== null) element("camera").textContent = said.stop;
  showPolicy();
}

function trouble(text) {
  element("trouble").hidden = !text;
  element("trouble").textContent = plain(text);
}

// --- the policy

function showPolicy() {
  element("policy").textContent = policy === null ? words(language).policyMissing : plain(policy.text);
  element("keep").hidden = policy === null;
  element("remember").checked = localStorage.getItem(POLICY_KEY) !== null;
}

async function takePolicy(bytes, name) {
  const parsed = await parsePolicy(bytes);
  const logs = parsed.logs.map(({ key }) => key.name).join(", ");
  policy = { bytes, text: `${name}: ${logs}; ${parsed.witnesses.map(({ name: witness }) => witness).join(", ")}; quorum ${parsed.quorum}` };
  if (localStorage.getItem(POLICY_KEY) !== null) keepPolicy();
  showPolicy();
}

const keepPolicy = () => localStorage.setItem(POLICY_KEY, toBase64(policy.bytes));

// --- files

async function take(files) {
  trouble("");
  const read = [];
  for (const file of files) {
    if (file.type.startsWith("image/")) await takePicture(file);
    else if (file.size > MAX_FILE_BYTES) trouble(`${file.name}: expected at most ${MAX_FILE_BYTES} bytes, got ${file.size}`);
    else read.push({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
  }
  await takeRead(read);
}

async function takeRead(read) {
  const others = read.filter(({ bytes }) => kindOf(bytes) !== "policy");
  for (const { name, bytes } of read.filter(({ bytes }) => kindOf(bytes) === "policy")) {
    // Whoever shows a file may have put a policy of his own beside it: none is taken with the file that it is to judge,
    // and none takes the place of another unasked.
    if (policy === null && others.length) {
      trouble(`${name}: ${words(language).policyAlone}`);
      return;
    }
    if (policy !== null) {
      if (!equal(policy.bytes, bytes)) {
        trouble(`${name}: ${words(language).policyKept}`);
        return;
      }
      continue;
    }
    try {
      await takePolicy(bytes, name);
    } catch (error) {
      // Whoever hands in another policy does not mean the one before it.
      policy = null;
      showPolicy();
      trouble(`${name}: ${error.message}`);
    }
  }
  const statements = others.filter(({ bytes }) => kindOf(bytes) === "statement");
  const proofs = others.filter(({ bytes }) => kindOf(bytes) !== "statement");
  if (others.length && policy === null) {
    trouble(words(language).policyMissing);
    return;
  }
  for (const { name, bytes } of proofs) {
    // Of several statements, the one of the same name; of one, that one.
    const stem = name.replace(/\.[^.]*$/, "");
    const statement = statements.find((each) => each.name.replace(/\.[^.]*$/, "") === stem) ?? (statements.length === 1 ? statements[0] : null);
    await report(name, bytes, statement?.bytes ?? null);
  }
  if (!proofs.length) for (const { name, bytes } of statements) await report(name, bytes, null);
}

async function report(name, bytes, statement) {
  const said = words(language);
  let found;
  try {
    found = await verify(bytes, { policy: policy.bytes, statement, now: Math.floor(Date.now() / 1000) });
  } catch (error) {
    trouble(`${name}: this is a bug of the page; nothing can be concluded from it: ${error}`);
    return;
  }
  const shown = make("section", `report ${found.holds ? "holds" : "fails"}`);
  shown.append(make("h2", found.holds ? "holds" : "fails", found.holds ? said.holds : said.fails));
  shown.append(make("p", "file", `${name}: ${found.kind}`));
  if (found.summary) shown.append(make("p", "summary", found.summary));
  if (found.kind === "crossing" && named !== null) {
    const matches = hex(await sha256(bytes)) === named;
    shown.append(make("p", matches ? "holds" : "fails", matches ? said.codeMatches : said.codeDiffers));
  }
  const checks = make("ol", "checks");
  for (const { name: check, verdict, detail } of found.checks) {
    const line = make("li");
    line.append(make("span", `verdict ${verdict === "not reached" ? "" : verdict}`, `${check}: ${said.verdicts[verdict]}. `), plain(detail));
    checks.append(line);
  }
  shown.append(checks);
  if (found.told.length) shown.append(list(said.told, found.told.map(({ at, what, by, index }) => `${at} ${what}, ${by} (entry ${index})`)));
  if (found.notChecked.length) shown.append(list(said.notChecked, found.notChecked, true));
  element("reports").prepend(shown);
}

function list(title, lines, open = false) {
  const shown = make("details");
  shown.open = open;
  shown.append(make("summary", "", title));
  const items = make("ul");
  for (const line of lines) items.append(make("li", "", line));
  shown.append(items);
  return shown;
}

// --- codes: a pass in base64 or as bytes, or what the code of a printed certificate says

async function takeCode(text) {
  const lines = text.split("\n");
  if (lines[0] === "comity.crossing.v1" && /^[0-9a-f]{64}$/.test(lines[2] ?? "")) {
    [, , named] = lines;
    trouble(`${words(language).codeNames} ${named}`);
    return true;
  }
  const bytes = codeBytes(text);
  if (bytes === null || kindOf(bytes) !== "pass") return false;
  await takeRead([{ name: "code", bytes }]);
  return true;
}

function codeBytes(text) {
  try {
    const plain = text.trim().replaceAll("-", "+").replaceAll("_", "/");
    return fromBase64(plain.padEnd(Math.ceil(plain.length / 4) * 4, "="), "code");
  } catch {
    // A code in byte mode comes as one character for each byte.
    return [...text].every((character) => character.charCodeAt(0) < 256) ? Uint8Array.from(text, (character) => character.charCodeAt(0)) : null;
  }
}

async function codesIn(picture) {
  if (!("BarcodeDetector" in globalThis)) throw new Error(words(language).noScanner);
  return (await new BarcodeDetector({ formats: ["qr_code"] }).detect(picture)).map(({ rawValue }) => rawValue);
}

async function takePicture(file) {
  try {
    const codes = await codesIn(await createImageBitmap(file));
    if (!codes.length) trouble(words(language).nothingScanned);
    for (const code of codes) if (!(await takeCode(code))) trouble(words(language).unknownCode);
  } catch (error) {
    trouble(error.message);
  }
}

async function toggleCamera() {
  if (camera !== null) return stopCamera();
  try {
    if (!("BarcodeDetector" in globalThis)) throw new Error(words(language).noScanner);
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const video = element("video");
    video.srcObject = camera;
    video.hidden = false;
    await video.play();
    element("camera").textContent = words(language).stop;
    await scan(video);
  } catch (error) {
    stopCamera();
    trouble(error.message.startsWith(words(language).noScanner) ? error.message : `${words(language).noCamera}${error.message}`);
  }
  return null;
}

async function scan(video) {
  while (camera !== null) {
    for (const code of await codesIn(video)) {
      if (await takeCode(code)) return stopCamera();
    }
    await new Promise((resolve) => {
      setTimeout(resolve, SCAN_EVERY_MS);
    });
  }
  return null;
}

function stopCamera() {
  for (const track of camera?.getTracks() ?? []) track.stop();
  camera = null;
  element("video").hidden = true;
  element("camera").textContent = words(language).camera;
}

// --- begin

for (const [code, name] of Object.entries(LANGUAGES)) element("language").append(new Option(name, code));
element("language").addEventListener("change", ({ target }) => {
  localStorage.setItem(LANGUAGE_KEY, target.value);
  speak(target.value);
});
element("files").addEventListener("change", ({ target }) => take([...target.files]).finally(() => (target.value = "")));
element("camera").addEventListener("click", toggleCamera);
element("remember").addEventListener("change", ({ target }) => (target.checked ? keepPolicy() : localStorage.removeItem(POLICY_KEY)));
element("forget").addEventListener("click", () => {
  localStorage.removeItem(POLICY_KEY);
  policy = null;
  showPolicy();
});
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") take([...event.dataTransfer.files]);
  });
}
speak(language);
element("language").value = language;
if (!globalThis.isSecureContext || !globalThis.crypto?.subtle) trouble(words(language).insecure);
else if (!(await canVerify())) trouble(words(language).noEd25519);
const kept = localStorage.getItem(POLICY_KEY);
if (kept !== null) await takePolicy(fromBase64(kept, "policy"), "policy").catch((error) => trouble(error.message));
document.documentElement.dataset.ready = "yes";
