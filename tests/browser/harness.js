// Drives the page as a person does: puts files into it and reads what it shows. Reports to the test's own server.
const frame = document.getElementById("page");
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const pause = () => new Promise((resolve) => { setTimeout(resolve, 20); });

async function until(holds) {
  while (!holds()) await pause();
}

function drop(files) {
  const { DataTransfer, File, Event } = frame.contentWindow;
  const transfer = new DataTransfer();
  for (const [name, content] of files) transfer.items.add(new File([content], name));
  const input = frame.contentDocument.getElementById("files");
  input.files = transfer.files;
  input.dispatchEvent(new Event("change"));
}

async function one({ name, policy, file, statement, now }) {
  frame.contentWindow.Date.now = () => now * 1000;
  const page = frame.contentDocument;
  page.getElementById("reports").replaceChildren();
  page.getElementById("trouble").textContent = "";
  page.getElementById("forget").click();
  drop([["kz.policy", bytes(policy)]]);
  await until(() => page.getElementById("policy").textContent.startsWith("kz.policy") || page.getElementById("trouble").textContent);
  if (page.getElementById("trouble").textContent) return { holds: false, checks: ["policy"], trouble: page.getElementById("trouble").textContent };
  drop([[name, bytes(file)], ...(statement === null ? [] : [[name.replace(/\.[^.]*$/, ".cose"), bytes(statement)]])]);
  await until(() => page.querySelector(".report .checks"));
  const report = page.querySelector(".report");
  return {
    holds: report.classList.contains("holds"),
    title: report.querySelector("h2").textContent,
    summary: report.querySelector(".summary")?.textContent ?? "",
    checks: [...report.querySelectorAll(".checks .verdict")].map((each) => each.textContent),
    notChecked: report.querySelectorAll("details:last-of-type li").length,
    raw: /[\x1b\u202e]/.test(report.textContent),
    wide: page.documentElement.scrollWidth > frame.clientWidth,
  };
}

// What is shown after files were dropped in one go: reports, trouble, and the policy in force.
async function together(files) {
  const page = frame.contentDocument;
  page.getElementById("reports").replaceChildren();
  page.getElementById("trouble").textContent = "";
  drop(files);
  await until(() => page.querySelector(".report .checks") || page.getElementById("trouble").textContent);
  const titles = [...page.querySelectorAll(".report h2")].map((each) => each.textContent);
  return { titles, trouble: page.getElementById("trouble").textContent, policy: page.getElementById("policy").textContent };
}

// Somebody shows a file with a policy of his own, by which it holds.
async function brought({ name, policy, foreign, file, now }) {
  frame.contentWindow.Date.now = () => now * 1000;
  const page = frame.contentDocument;
  const [theirs, shown] = [["carrier.policy", bytes(foreign)], [name, bytes(file)]];
  page.getElementById("forget").click();
  const first = await together([theirs, shown]);
  drop([["kz.policy", bytes(policy)]]);
  await until(() => page.getElementById("policy").textContent.startsWith("kz.policy"));
  const second = await together([theirs, shown]);
  const own = await together([["kz.policy", bytes(policy)], shown]);
  page.getElementById("forget").click();
  drop([theirs]);
  await until(() => page.getElementById("policy").textContent.startsWith("carrier.policy"));
  const believed = await together([shown]);
  return { first, second, own, believed };
}

async function remembered() {
  const page = frame.contentDocument;
  page.getElementById("remember").click();
  frame.contentWindow.location.reload();
  await until(() => frame.contentDocument !== page && frame.contentDocument?.documentElement?.dataset.ready);
  const kept = frame.contentDocument.getElementById("policy").textContent;
  frame.contentDocument.getElementById("forget").click();
  return { kept, after: frame.contentDocument.getElementById("policy").textContent, stored: frame.contentWindow.localStorage.getItem("comity.policy") };
}

async function spoken() {
  const page = frame.contentDocument;
  const select = page.getElementById("language");
  const titles = {};
  for (const { value } of select.options) {
    select.value = value;
    select.dispatchEvent(new frame.contentWindow.Event("change"));
    titles[value] = [page.title, page.getElementById("policy").textContent];
  }
  return titles;
}

async function run() {
  await until(() => frame.contentDocument?.documentElement?.dataset.ready);
  localStorage.clear();
  const before = frame.contentDocument.getElementById("trouble").textContent;
  const reports = [];
  for (const each of await (await fetch("cases.json")).json()) reports.push(await one(each));
  const broughtAlong = await brought(await (await fetch("brought.json")).json());
  return { before, reports, broughtAlong, remembered: await remembered(), spoken: await spoken() };
}

const found = await run().catch((error) => ({ error: `${error} ${error.stack}` }));
await fetch("report", { method: "POST", body: JSON.stringify(found) });
