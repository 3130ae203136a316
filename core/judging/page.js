// The page of a batch of assessments: list, filters, conversation, keys. All content comes from the data in the page and is shown as text.

const byId = (id) => document.getElementById(id);
const data = (id) => JSON.parse(byId(id).textContent);

const page = data("index");
const criteria = new Map(page.criteria.map((criterion) => [criterion.id, criterion]));
const [filters, list, conversation, findings] = ["filters", "list", "conversation", "findings"].map(byId);

// view: whose verdicts are shown, 0 for the decision, else 1 + the judge's index; jump: the citation that was followed last
const state = { view: 0, chosen: null, shown: [], jump: null };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

const badge = (answer) => element("strong", { className: `badge ${answer}` }, answer);
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const fixed = (score) => (score === null ? "none" : score.toFixed(2));
const resultOf = (transcript) => transcript.results[state.view] ?? null;

// --- the list -------------------------------------------------------------------------------------------------------

function rowFacts(transcript) {
  const length = element("span", {}, plural(transcript.exchanges, "exchange"));
  const result = resultOf(transcript);
  if (page.blind) return [length];
  if (result === null) return [element("span", {}, "not judged by this judge"), length];
  return [
    badge(result.outcome),
    element("span", {}, `score ${fixed(result.score)}`),
    length,
    ...result.failedGates.map((gate) => element("strong", { className: "fail" }, `failed gate: ${gate}`)),
    result.errors ? element("span", { className: "incomplete" }, plural(result.errors, "error")) : null,
  ];
}

function row(transcript, index) {
  const link = element("a", { href: `#t=${encodeURIComponent(transcript.id)}`, tabIndex: -1 });
  link.append(element("span", { className: "id", dir: "auto" }, transcript.id), element("span", { className: "facts" }, rowFacts(transcript)));
  link.dataset.index = index;
  return element("li", {}, link);
}

const linkTo = (index) => list.children[index]?.firstChild;

function markChosen() {
  const entry = state.shown.includes(state.chosen) ? state.chosen : state.shown[0];
  page.transcripts.forEach((_, index) => {
    linkTo(index).tabIndex = index === entry ? 0 : -1;
    if (index === state.chosen) linkTo(index).setAttribute("aria-current", "true");
    else linkTo(index).removeAttribute("aria-current");
  });
}

// --- filters --------------------------------------------------------------------------------------------------------

const plain = (text) => text.toLowerCase().replaceAll("’", "'").replaceAll("\n", " ");
const searchable = new Map();

function searchText(index) {
  if (!searchable.has(index)) {
    const messages = data(`conversation-${index}`).flatMap(([, user, assistant]) => [user, assistant]);
    searchable.set(index, plain([page.transcripts[index].id, ...messages].join("\n")));
  }
  return searchable.get(index);
}

async function prepareSearch() {
  for (const index of page.transcripts.keys()) {
    searchText(index);
    if (index % 20 === 19) await new Promise((resolve) => setTimeout(resolve));
  }
}

function fitsGate(result, gate) {
  if (!gate) return true;
  if (result === null) return false;
  if (gate === "none") return result.failedGates.length === 0;
  return gate === "failed" ? result.failedGates.length > 0 : result.failedGates.includes(gate);
}

function fitsAnswer(result, criterion, answer) {
  if (!criterion && !answer) return true;
  const answers = result?.answers ?? {};
  const given = criterion ? [answers[criterion]].filter(Boolean) : Object.values(answers);
  return answer ? given.includes(answer) : given.length > 0;
}

function judgesDisagree(transcript, criterion) {
  const given = transcript.results.slice(1).map((result) => result?.answers[criterion]);
  return new Set(given.filter((answer) => answer && answer !== "ERROR")).size > 1;
}

function fits(index, wanted) {
  const transcript = page.transcripts[index];
  const result = resultOf(transcript);
  const names = wanted.criterion ? [wanted.criterion] : [...criteria.keys()];
  return (
    (!wanted.outcome || result?.outcome === wanted.outcome) &&
    fitsGate(result, wanted.gate) &&
    fitsAnswer(result, wanted.criterion, wanted.answer) &&
    (!wanted.disagree || names.some((name) => judgesDisagree(transcript, name))) &&
    (!wanted.text || searchText(index).includes(wanted.text))
  );
}

function applyFilters() {
  const wanted = Object.fromEntries(new FormData(filters));
  wanted.text = plain(wanted.text.trim());
  state.shown = [...page.transcripts.keys()].filter((index) => fits(index, wanted));
  const shown = new Set(state.shown);
  page.transcripts.forEach((_, index) => (list.children[index].hidden = !shown.has(index)));
  byId("count").textContent = `${shown.size.toLocaleString("en")} of ${plural(page.transcripts.length, "transcript")} shown`;
  byId("empty").hidden = shown.size > 0;
  list.hidden = shown.size === 0;
  if (shown.size && !shown.has(state.chosen)) choose(state.shown[0]);
  else markChosen();
}

function chooseView() {
  const view = Number(filters.elements.view?.value ?? 0);
  if (view === state.view) return;
  state.view = view;
  list.replaceChildren(...page.transcripts.map(row));
  showFindings();
}

function filter() {
  chooseView();
  applyFilters();
}

// --- the conversation -----------------------------------------------------------------------------------------------

function message(who, text) {
  return [element("p", { className: `who ${who}` }, who), element("div", { className: `message ${who}`, dir: "auto" }, text)];
}

function exchange([number, user, assistant]) {
  const heading = element("h3", { id: `heading-${number}` }, `Exchange ${number}`);
  const made = element("article", { id: `exchange-${number}`, className: "exchange", tabIndex: -1 });
  made.append(element("header", {}, heading, element("span", { className: "why" })), ...message("user", user), ...message("assistant", assistant));
  made.setAttribute("aria-labelledby", heading.id);
  return made;
}

function choose(index) {
  const { id } = page.transcripts[index];
  state.chosen = index;
  state.jump = null;
  const heading = element("h2", { tabIndex: -1, dir: "auto" }, id);
  conversation.replaceChildren(heading, ...data(`conversation-${index}`).map(exchange));
  if (!page.blind) showFindings();
  markChosen();
  if (conversation.getBoundingClientRect().top < 0) conversation.scrollIntoView();
  rememberChoice(id);
}

let remembering;
function rememberChoice(id) {
  // browsers limit how often the address may change; a key that is held down would exceed the limit
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, "", `#t=${encodeURIComponent(id)}`), 100);
}

function namedInAddress() {
  try {
    const id = location.hash.startsWith("#t=") ? decodeURIComponent(location.hash.slice(3)) : null;
    return page.transcripts.findIndex((transcript) => transcript.id === id);
  } catch {
    return -1;
  }
}

// --- keyboard and mouse ---------------------------------------------------------------------------------------------

function unfold(open) {
  byId("panel").classList.toggle("folded", !open);
  byId("fold").setAttribute("aria-expanded", String(open));
}

function enter(index) {
  if (index === undefined) return;
  choose(index);
  const link = linkTo(index);
  if (link.checkVisibility()) {
    link.focus({ preventScroll: true });
    link.scrollIntoView({ block: "nearest" });
  } else {
    conversation.querySelector("h2").focus();
  }
}

function move(by) {
  enter(by > 0 ? state.shown.find((index) => index > state.chosen) : state.shown.findLast((index) => index < state.chosen));
}

function focusSearch() {
  unfold(true);
  byId("search").focus();
  byId("search").select();
}

const KEYS = { j: () => move(1), k: () => move(-1), n: () => step(1), p: () => step(-1), "/": focusSearch, Escape: goBack };
const LIST_KEYS = { ArrowDown: () => move(1), ArrowUp: () => move(-1), Home: () => enter(state.shown[0]), End: () => enter(state.shown.at(-1)) };

function press(event) {
  const typing = event.target.closest?.("select, textarea, input:not([type=checkbox])");
  if (typing || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  const action = (byId("keys").checked && KEYS[event.key]) || (list.contains(event.target) && LIST_KEYS[event.key]);
  if (!action) return;
  event.preventDefault();
  action();
}

function clickRow(event) {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  choose(Number(link.dataset.index));
  if (!byId("fold").checkVisibility()) return;
  unfold(false);
  showPart("conversation");
}

function showPart(id) {
  if (id === "transcripts") unfold(true);
  byId(id).focus({ preventScroll: true });
  byId(id).scrollIntoView();
}

function reset() {
  filters.reset();
  filter();
  byId("search").focus();
}

let waiting;
function listen() {
  document.addEventListener("keydown", press);
  byId("search").addEventListener("focus", prepareSearch, { once: true });
  list.addEventListener("click", clickRow);
  filters.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, event.target.name === "text" ? 150 : 0);
  });
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    filter();
    if (state.shown.length) enter(state.shown.includes(state.chosen) ? state.chosen : state.shown[0]);
  });
  findings.addEventListener("click", (event) => {
    const button = event.target.closest(".cited button");
    if (button) follow(button);
  });
  for (const button of document.querySelectorAll(".reset")) button.addEventListener("click", reset);
  for (const button of document.querySelectorAll("[data-part]")) button.addEventListener("click", () => showPart(button.dataset.part));
  byId("fold").addEventListener("click", () => unfold(byId("panel").classList.contains("folded")));
  document.querySelector(".summary")?.addEventListener("click", (event) => {
    if (event.target.closest('a[href^="#t="]')) setTimeout(() => showPart("conversation"));
  });
  addEventListener("hashchange", () => {
    const index = namedInAddress();
    if (index >= 0 && index !== state.chosen) choose(index);
  });
}

function start() {
  for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;
  if (page.blind) showCriteria();
  list.replaceChildren(...page.transcripts.map(row));
  const named = namedInAddress();
  if (named >= 0) {
    choose(named);
    document.querySelector(".workspace").scrollIntoView();
  }
  applyFilters();
  listen();
}

start();
