// Shows one criterion at a time, with keyboard shortcuts. An answer is sent to the studio at once. It stays in this browser, and is sent again, until the studio has stored it.
const root = document.getElementById("labelling");
const address = root.dataset.address;
const sections = [...root.querySelectorAll("[data-criterion]")];
const end = document.getElementById("end");
const kept = document.getElementById("kept");
const keys = document.getElementById("keys");
const WAITING = "understudy-labels"; // one queue for all conversations, so that unsent answers survive a change of the page
const RETRY = 2000;
let current = 0;
let sending = null;
let lost = false;
const past = []; // sections and their previous answers, the latest last

document.body.classList.add("scripted");
document.getElementById("picks").hidden = false;
document.getElementById("tools").hidden = false;
const narrow = matchMedia("(max-width: 61.99rem)");
if (narrow.matches) for (const rules of root.querySelectorAll(".rules")) rules.open = false;

const waiting = () => JSON.parse(localStorage.getItem(WAITING) ?? "[]");
const keep = (list) => (list.length ? localStorage.setItem(WAITING, JSON.stringify(list)) : localStorage.removeItem(WAITING));
const idOf = (section) => section.dataset.criterion;
const reasonOf = (section) => section.querySelector("textarea");
const answerOf = (section) => section.querySelector(".answer[aria-pressed=true]")?.value ?? "";

function draw(section, answer) {
  for (const button of section.querySelectorAll(".answer")) button.setAttribute("aria-pressed", String(button.value === answer));
  const pick = root.querySelector(`[data-pick="${idOf(section)}"]`);
  pick.className = answer || "none";
  pick.setAttribute("aria-label", `${section.querySelector("h2").textContent.trim()}: ${answer || "no answer"}`);
  const count = sections.filter(answerOf).length;
  document.getElementById("count").textContent = count;
  document.getElementById("bar").value = count;
}

function show(place, focus = true) {
  current = Math.max(0, Math.min(sections.length, place));
  sections.forEach((section, number) => { section.hidden = number !== current; });
  end.hidden = current !== sections.length;
  for (const pick of root.querySelectorAll("[data-pick]")) pick.removeAttribute("aria-current");
  if (current < sections.length) {
    const pick = root.querySelector(`[data-pick="${idOf(sections[current])}"]`);
    pick.setAttribute("aria-current", "true");
    pick.parentElement.parentElement.scrollLeft = pick.offsetLeft - 120;
  }
  if (focus) (end.hidden ? sections[current] : document.getElementById("onward")).focus({ preventScroll: true });
}

function onward() {
  const order = [...sections.keys()].map((step) => (current + 1 + step) % sections.length);
  const open = order.find((place) => !answerOf(sections[place]));
  show(open === undefined ? sections.length : open);
}

function say(text, lost = false) {
  kept.textContent = text;
  kept.classList.toggle("lost", lost);
}

function give(section, answer) {
  const before = answerOf(section);
  if (before !== answer) past.push([section, before]);
  draw(section, answer);
  send({ criterion: idOf(section), answer, reason: reasonOf(section).value });
}

function send(what) {
  keep([...waiting(), { id: `${Date.now()} ${Math.random()}`, to: address, ...what }]);
  say("…");
  flush();
}

// requests are sent one after the other, in order
function flush() {
  sending ??= work().finally(() => { sending = null; });
}

async function work() {
  while (waiting().length) {
    const [{ id, to, undo, ...said }] = waiting();
    let answer;
    try {
      const headers = { "content-type": "application/json", accept: "application/json" };
      answer = await fetch(undo ? `${to}/undo` : to, { method: "POST", headers, body: undo ? undefined : JSON.stringify(said) });
      if (answer.status >= 500 || answer.status === 401) throw new Error(answer.status);
    } catch {
      say("Not kept yet: the studio does not answer. Your answer waits in this browser.", true);
      lost = true;
      setTimeout(flush, RETRY);
      return;
    }
    lost = false;
    keep(waiting().filter((one) => one.id !== id));
    if (!answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      say(`Not accepted: ${page.querySelector("main p")?.textContent ?? answer.status}`, true);
    } else if (undo === "studio" && to === address) {
      taken((await answer.json()).given);
    } else if (!waiting().length) {
      say(undo ? "Undone." : "Kept.");
    }
  }
}

function undo() {
  const last = past.pop();
  if (last) {
    draw(...last);
    show(sections.indexOf(last[0]));
  }
  send({ undo: last ? "page" : "studio" }); // answers from before this page was opened are undone by the studio
}

function taken(given) {
  const changed = sections.findIndex((section) => answerOf(section) !== (given[idOf(section)]?.answer ?? ""));
  if (changed < 0 || waiting().length) return say("There is nothing to undo.");
  draw(sections[changed], given[idOf(sections[changed])]?.answer ?? "");
  say("Undone.");
  show(changed);
}

for (const section of sections) {
  section.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!event.submitter) return;
    give(section, event.submitter.value);
    onward();
  });
  let timer;
  const reason = reasonOf(section);
  const save = () => {
    clearTimeout(timer);
    if (reason.value !== reason.dataset.sent) {
      reason.dataset.sent = reason.value;
      give(section, answerOf(section));
    }
  };
  reason.dataset.sent = reason.value;
  reason.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(save, 600); });
  reason.addEventListener("blur", save);
}

for (const pick of root.querySelectorAll("[data-pick]")) pick.addEventListener("click", () => show(sections.findIndex((section) => idOf(section) === pick.dataset.pick)));
document.getElementById("back").addEventListener("click", () => show(current - 1));
document.getElementById("forth").addEventListener("click", () => show(current + 1));
document.getElementById("undo").addEventListener("click", undo);

keys.checked = localStorage.getItem("understudy-keys") !== "off";
keys.addEventListener("change", () => localStorage.setItem("understudy-keys", keys.checked ? "on" : "off"));

const ANSWERS = { y: "YES", n: "NO", a: "NA" };
document.addEventListener("keydown", (event) => {
  if (event.target.matches("textarea, input:not([type=checkbox]), select")) {
    if (event.key === "Escape") event.target.closest(".criterion")?.focus();
    return;
  }
  if (!keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  const section = sections[current];
  if (key in ANSWERS && section) section.querySelector(`.answer[value="${ANSWERS[key]}"]`)?.click();
  else if (key === "j") show(current + 1);
  else if (key === "k") show(current - 1);
  else if (key === "u") undo();
  else if (key === "r" && section) { reasonOf(section).focus(); event.preventDefault(); }
  else if (key === "]") root.querySelector("[rel=next]")?.click();
  else if (key === "[") root.querySelector("[rel=prev]")?.click();
  else return;
  if (key !== "r") event.preventDefault();
});

addEventListener("beforeunload", (event) => { if (lost) event.preventDefault(); });
for (const one of waiting().filter((found) => found.to === address && !found.undo)) {
  const section = sections.find((found) => idOf(found) === one.criterion);
  if (section) { reasonOf(section).value = one.reason; draw(section, one.answer); }
}
flush();
const asked = sections.findIndex((section) => `#${idOf(section)}` === location.hash);
const open = sections.findIndex((section) => !answerOf(section));
show(asked >= 0 ? asked : open >= 0 ? open : 0, open >= 0);
