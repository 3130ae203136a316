// Reloads the page every two seconds and replaces the parts that have changed. Open details stay open, and the scroll position is kept.

const EVERY = 2000;
const follow = document.getElementById("follow");
for (const part of document.querySelectorAll("[data-clock]")) part.hidden = false;

const atEnd = () => window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 120;

function replace(old, fresh) {
  const open = new Set([...old.querySelectorAll("details[open][id]")].map((item) => item.id));
  const held = old.contains(document.activeElement) ? document.activeElement.closest("[id], a[href]") : null;
  for (const item of fresh.querySelectorAll("details[id]")) item.open = open.has(item.id);
  old.replaceChildren(...fresh.childNodes);
  if (!held) return;
  const again = held.id ? document.getElementById(held.id) : [...old.querySelectorAll("a[href]")].find((link) => link.getAttribute("href") === held.getAttribute("href"));
  (again?.querySelector("summary") ?? again)?.focus({ preventScroll: true });
}

const seen = new Map([...document.querySelectorAll("[data-live]")].map((part) => [part.dataset.live, part.innerHTML]));

async function look() {
  const answer = await fetch(location.href);
  if (answer.redirected) return location.assign(answer.url);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const stayed = atEnd();
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!next || next.innerHTML === seen.get(part.dataset.live)) continue;
    seen.set(part.dataset.live, next.innerHTML);
    replace(part, next);
    if (stayed && "grows" in part.dataset) window.scrollTo({ top: document.documentElement.scrollHeight });
  }
}

async function keep() {
  if (follow?.checked && !document.hidden) await look().catch(() => {}); // the studio may be restarted
  setTimeout(keep, EVERY);
}

setTimeout(keep, EVERY);
