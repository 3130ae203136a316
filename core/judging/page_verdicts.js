// The right-hand side of the page, verdicts or criteria, and the way from a citation into the conversation.
// Joined into one module with page.js, which follows it and starts the page.

// --- citations ------------------------------------------------------------------------------------------------------

function clearMark() {
  for (const marked of conversation.querySelectorAll(".current")) {
    marked.classList.remove("current");
    marked.querySelector(".why").replaceChildren();
  }
}

function goTo(target, ...why) {
  clearMark();
  target.classList.add("current");
  target.querySelector(".why").replaceChildren(...why);
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "start" });
}

function follow(button) {
  const place = citationsBeside(button);
  const why = `cited for ${button.dataset.criterion}, ${place.indexOf(button) + 1} of ${place.length}`;
  state.jump = button;
  goTo(byId(`exchange-${button.dataset.number}`), why, element("button", { type: "button", onclick: goBack }, "back to the verdict"));
}

function goBack() {
  clearMark();
  state.jump?.focus();
  state.jump = null;
}

const citationsBeside = (button) => [...button.parentElement.querySelectorAll("button")];

function citations(criterion, numbers) {
  const made = element("p", { className: "cited" }, "cited: ");
  for (const number of numbers) {
    const button = element("button", { type: "button", disabled: byId(`exchange-${number}`) === null }, `[${number}]`);
    button.setAttribute("aria-label", `exchange ${number}, cited for ${criterion}`);
    Object.assign(button.dataset, { number, criterion });
    made.append(button, " ");
  }
  return numbers.length ? made : null;
}

function stepCitation(by) {
  const verdict = document.activeElement.closest(".verdict") ?? state.jump?.closest(".verdict");
  const own = state.jump && state.jump.closest(".verdict") === verdict;
  const first = own ? state.jump : verdict?.querySelector(".cited button:enabled");
  if (!first) return false;
  const buttons = citationsBeside(first).filter((button) => !button.disabled);
  const place = own ? buttons.indexOf(first) + by : by > 0 ? 0 : -1;
  follow(buttons.at(place % buttons.length));
  return true;
}

function stepExchange(by) {
  const all = [...conversation.querySelectorAll(".exchange")];
  const marked = all.findIndex((item) => item.classList.contains("current"));
  const inView = all.findIndex((item) => item.getBoundingClientRect().bottom > 60);
  const place = marked < 0 ? inView + (by > 0 ? 0 : by) : marked + by;
  if (all.length) goTo(all[Math.max(0, Math.min(place, all.length - 1))]);
}

// n and p: to the next or previous citation of the focused verdict, or else exchange
function step(by) {
  if (!stepCitation(by)) stepExchange(by);
}

// --- verdicts -------------------------------------------------------------------------------------------------------

const spoken = (name) => name.replaceAll("_", " ");

function opinion(given, criterion, texts) {
  return element(
    "li",
    {},
    element("p", {}, badge(given.answer), ` ${given.judge}`),
    element("p", { className: "text", dir: "auto" }, texts[given.reasoning]),
    citations(criterion, given.cited),
  );
}

function opinions({ opinions: given, criterion }, texts) {
  if (given.length === 0) return null;
  const answers = given.map((item) => item.answer);
  const differ = new Set(answers).size > 1 ? " differ" : "";
  return element(
    "details",
    { className: "opinions" },
    element("summary", {}, `${plural(given.length, "opinion")}${differ}: ${answers.join(", ")}`),
    element("ul", {}, given.map((item) => opinion(item, criterion, texts))),
  );
}

function lapses({ lapses: listed, stated, answer }) {
  if (listed.length === 0) return null;
  const decided = stated ? `; the judge answered ${stated}, and ${answer} follows from them` : "";
  return element(
    "details",
    { className: "opinions" },
    element("summary", {}, `${listed.length} ${listed.length === 1 ? "lapse" : "lapses"}${decided}`),
    element("ul", {}, listed.map((item) => element("li", { className: "text", dir: "auto" }, item))),
  );
}

function question(criterion) {
  return element("details", {}, element("summary", {}, "the criterion"), element("div", { className: "text" }, criterion.text));
}

function verdict(given, result, texts) {
  const criterion = criteria.get(given.criterion);
  const failed = result.failedGates.includes(given.criterion) ? element("strong", { className: "fail" }, `failed gate: ${given.criterion}`) : null;
  const made = element(
    "article",
    { className: "verdict" },
    element("h4", {}, badge(given.answer), ` ${given.criterion} ${criterion?.name ?? ""}`),
    element("p", { className: "quiet" }, criterion ? spoken(criterion.category ?? "gate") : "not in the rubric", " ", failed),
    element("p", { className: "text", dir: "auto" }, texts[given.reasoning]),
    citations(given.criterion, given.cited),
    lapses(given),
    opinions(given, texts),
    criterion ? question(criterion) : null,
  );
  made.dataset.criterion = given.criterion;
  return made;
}

function facts(found, result) {
  const named = (ids) => ids.map((id) => `${id} ${criteria.get(id)?.name ?? ""}`).join("; ") || "none";
  const rows = [
    ["outcome", badge(result.outcome)],
    ["score", `${fixed(result.score)} (passes at ${fixed(page.passAt)})`],
    ["failed gates", result.failedGates.length ? element("strong", { className: "fail" }, named(result.failedGates)) : "none"],
    ["failed checks", named(found.failedChecks)],
    ["errors", String(result.errors)],
    [found.judge.includes(" + ") ? "judges" : "judge", found.judge],
  ];
  return element("dl", {}, rows.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));
}

function categoryScores(scores) {
  const head = element("tr", {}, ["category", "weight", "score"].map((name) => element("th", { scope: "col" }, name)));
  const rows = Object.entries(page.weights).map(([name, weight]) =>
    element("tr", {}, element("th", { scope: "row" }, spoken(name)), element("td", {}, fixed(weight)), element("td", {}, fixed(scores[name] ?? null))),
  );
  return element("table", {}, element("caption", {}, "Category scores"), element("thead", {}, head), element("tbody", {}, rows));
}

function warnings({ caveat, sharedFamily }) {
  const family = sharedFamily && `Judge and assistant are both of the family ${sharedFamily}; such judges favour their own.`;
  return [caveat, family].filter(Boolean).map((text) => element("p", { className: "warning" }, text));
}

function showFindings() {
  const { views, texts } = data(`findings-${state.chosen}`);
  const [found, result] = [views[state.view], resultOf(page.transcripts[state.chosen])];
  const title = element("h2", {}, state.view ? `Verdicts of ${page.judges[state.view - 1]}` : "Verdicts");
  state.jump = null;
  clearMark();
  findings.scrollTop = 0;
  if (!found) {
    findings.replaceChildren(title, element("p", {}, "This judge has not judged this conversation."));
    return;
  }
  const isGate = (given) => criteria.get(given.criterion)?.category === null;
  const ordered = [...found.verdicts].sort((one, other) => isGate(other) - isGate(one));
  findings.replaceChildren(
    title,
    ...warnings(found),
    facts(found, result),
    categoryScores(found.categories),
    element("h3", {}, "Criteria"),
    ...ordered.map((given) => verdict(given, result, texts)),
  );
}

function showCriteria() {
  const notes = ({ category, na, from }) => [spoken(category ?? "gate"), `NA ${na}`, from > 1 ? `from exchange ${from}` : null].filter(Boolean).join(" · ");
  const made = page.criteria.map((criterion) =>
    element(
      "details",
      { className: "verdict" },
      element("summary", {}, element("strong", {}, criterion.id), ` ${criterion.name} `, element("span", { className: "quiet" }, notes(criterion))),
      element("div", { className: "text" }, criterion.text),
    ),
  );
  const toggle = element("button", { type: "button" }, "open or close all");
  toggle.onclick = () => {
    const open = !made[0].open;
    for (const item of made) item.open = open;
  };
  findings.replaceChildren(element("h2", {}, "Criteria"), toggle, ...made);
}
