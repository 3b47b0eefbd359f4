// Keeps the inspector's diagram up to date and shows single messages beside it.
// Everything drawn here was rendered by the server: this script only puts it in place.
"use strict";

const chapters = document.getElementById("chapters");
const live = document.getElementById("live");
const said = document.getElementById("said");
const follow = document.getElementById("follow");

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

// --- Drawing what is new ------------------------------------------------------------------------

// Bring a list up to date item by item, so that what did not change keeps its place, its focus
// and a screen reader's position.
function mergeList(list, fresh) {
  let present = list.firstElementChild;
  for (const item of [...fresh.children]) {
    const known = document.getElementById(item.id);
    if (known && known.parentElement === list) {
      while (present && present !== known) {
        const next = present.nextElementSibling;
        present.remove();
        present = next;
      }
      present = known.nextElementSibling;
      if (known.outerHTML !== item.outerHTML) known.replaceWith(item);
    } else {
      list.insertBefore(item, present);
    }
  }
  while (present) {
    const next = present.nextElementSibling;
    present.remove();
    present = next;
  }
}

function draw({ id, newest, html }) {
  const fresh = parse(html).body.firstElementChild;
  const known = document.getElementById(id);
  if (id !== "others") document.getElementById("empty")?.remove();
  if (known) {
    known.querySelector("summary").replaceChildren(...fresh.querySelector("summary").childNodes);
    mergeList(known.querySelector(".arrows"), fresh.querySelector(".arrows"));
    return;
  }
  if (newest) {
    for (const older of chapters.querySelectorAll("details[open]")) older.open = false;
  }
  const order = begunAt(fresh);
  const older = [...chapters.children].find((chapter) => begunAt(chapter) < order);
  chapters.insertBefore(fresh, older ?? null);
}

// The number of the exchange that began a sign-in: the newest stands first, all others last.
function begunAt(chapter) {
  return Number(chapter.id.replace("sign-in-", "")) || (chapter.id === "empty" ? Infinity : 0);
}

function update(news) {
  const focused = document.activeElement?.closest("li.arrow")?.id;
  draw(news);
  if (focused && document.activeElement === document.body) {
    document.getElementById(focused)?.querySelector("a")?.focus({ preventScroll: true });
  }
  if (!news.said) return;
  said.textContent = news.said;
  const latest = document.getElementById(news.id).querySelector("li.latest");
  if (follow.checked && !focused && !details.open && latest) {
    latest.scrollIntoView({ block: "nearest", behavior: "instant" });
  }
}

function connect() {
  const after = encodeURIComponent(chapters.dataset.after);
  const events = new EventSource(`events?after=${after}`);
  const say = (state, words) => {
    live.dataset.state = state;
    live.textContent = words;
  };
  events.addEventListener("open", () => say("live", "Live: arrows appear as they happen"));
  events.addEventListener("error", () => say("lost", "The emulator does not answer: trying again"));
  events.addEventListener("chapter", (event) => update(JSON.parse(event.data)));
  events.addEventListener("cleared", () => {
    events.close();
    location.reload();
  });
}

// --- One message, beside the diagram ------------------------------------------------------------

const details = document.getElementById("details");
const detailsTitle = document.getElementById("details-title");
const detailsBody = document.getElementById("details-body");
let opened = null;

function reachable() {
  return [...chapters.querySelectorAll("details[open] a.line, section a.line")];
}

async function show(link) {
  opened = link;
  const address = new URL(link.href);
  const response = await fetch(address.pathname, { headers: { accept: "text/html" } });
  if (opened !== link) return; // another arrow was chosen meanwhile
  if (response.ok) {
    const page = parse(await response.text());
    detailsTitle.replaceChildren(...page.getElementById("exchange-title").childNodes);
    detailsBody.replaceChildren(page.querySelector("article"));
  } else {
    detailsTitle.textContent = link.textContent;
    detailsBody.textContent = await response.text();
  }
  for (const marked of chapters.querySelectorAll("a[aria-current]")) {
    marked.removeAttribute("aria-current");
  }
  link.setAttribute("aria-current", "true");
  if (!details.open) details.showModal();
  const links = reachable();
  document.getElementById("previous").disabled = links[0] === link;
  document.getElementById("next").disabled = links.at(-1) === link;
  const half = document.getElementById(address.hash.slice(1));
  detailsBody.scrollTop = 0;
  if (half && address.hash === "#response") half.scrollIntoView({ behavior: "instant" });
  detailsTitle.focus({ preventScroll: true });
}

function step(by) {
  const links = reachable();
  const link = links[links.findIndex((one) => one.href === opened.href) + by];
  if (!link) return;
  link.scrollIntoView({ block: "center", behavior: "instant" });
  show(link);
}

chapters.addEventListener("click", (event) => {
  const link = event.target.closest("a.line");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  show(link);
});
document.getElementById("previous").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
document.getElementById("close").addEventListener("click", () => details.close());
details.addEventListener("click", (event) => {
  if (event.target === details) details.close(); // the backdrop
});
details.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
details.addEventListener("close", () => {
  const link = reachable().find((one) => one.href === opened?.href);
  opened = null;
  link?.focus({ preventScroll: true });
});

document.querySelector(".follow").hidden = false;
connect();
