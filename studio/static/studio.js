// Keyboard shortcuts, and filters that apply at once. Every page also works without this script, by its links and forms.

const form = document.querySelector("form[data-auto]");
form?.addEventListener("change", (event) => {
  if (event.target.name !== "text") form.requestSubmit();
});

const follow = (rel) => document.querySelector(`main a[rel="${rel}"]`)?.click();
let followed = null;

document.addEventListener("click", (event) => {
  const citation = event.target.closest?.(".cited a");
  if (citation) followed = citation;
});

function stepThrough(all, at, by) {
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length];
  next?.click();
}

function stepExchange(by) {
  const all = [...document.querySelectorAll(".exchange")];
  const marked = all.findIndex((item) => item === document.activeElement);
  const inView = all.findIndex((item) => item.getBoundingClientRect().bottom > 120);
  const next = all[Math.max(0, Math.min(all.length - 1, marked < 0 ? inView + (by > 0 ? 0 : by) : marked + by))];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "start" });
}

// n and p step through the citations of the focused verdict, or else from exchange to exchange
function step(by) {
  const verdict = document.activeElement.closest(".verdict") ?? (document.querySelector(".exchange:target") && followed?.closest(".verdict"));
  const cited = [...(verdict?.querySelectorAll(".cited a:not([aria-disabled])") ?? [])];
  if (cited.length) stepThrough(cited, cited.indexOf(followed), by);
  else stepExchange(by);
}

function goBack() {
  followed?.focus();
  followed = null;
}

const KEYS = {
  j: () => follow("next"),
  k: () => follow("prev"),
  n: () => step(1),
  p: () => step(-1),
  "/": () => document.getElementById("search")?.select(),
  Escape: goBack,
};

const box = document.getElementById("keys");
const kept = "understudy-keys";
if (box) {
  box.checked = localStorage.getItem(kept) !== "off";
  box.addEventListener("change", () => localStorage.setItem(kept, box.checked ? "on" : "off"));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("select, textarea, input:not([type=checkbox])");
  if (typing || event.ctrlKey || event.altKey || event.metaKey || event.isComposing || (box && !box.checked)) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
