"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // A link to something inside folded parts unfolds them.
  const reveal = () => {
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.classList.contains("run") && target.hidden) show("");
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
    target.scrollIntoView({ block: "start" });
    const summary = target.querySelector("summary");
    if (target.classList.contains("run") && summary) summary.focus({ preventScroll: true });
  };

  // Runs by words that occur in their line.
  const runs = Array.from(document.querySelectorAll("details.run"));
  const filter = byId("filter");
  const show = (text) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const run of runs) {
      const line = (run.id + " " + run.firstElementChild.textContent).toLowerCase();
      run.hidden = !words.every((word) => line.includes(word));
      left += run.hidden ? 0 : 1;
    }
    filter.value = text;
    byId("filtered").textContent = words.length ? `${left} of ${runs.length}` : "";
  };
  filter.parentElement.hidden = runs.length < 2;
  filter.addEventListener("input", () => show(filter.value));

  // Pointing at a number, or focusing it, shows how it was made.
  const cards = JSON.parse(byId("cards").textContent);
  const card = byId("card");
  let owner = null;
  let timer = 0;
  const element = (name, text, parent) => {
    const node = document.createElement(name);
    node.textContent = text;
    parent.append(node);
    return node;
  };
  const fill = (content) => {
    card.replaceChildren();
    element("strong", content.title, card);
    const facts = element("dl", "", card);
    for (const [name, value] of content.facts) {
      const pair = element("div", "", facts);
      element("dt", name, pair);
      element("dd", value, pair);
    }
    const list = element("ul", "", card);
    for (const [place, text] of content.runs) {
      const link = element("a", text, element("li", "", list));
      link.href = "#" + place;
    }
    for (const note of content.notes) element("p", note, card);
  };
  const place = (link) => {
    const box = link.getBoundingClientRect();
    const width = card.offsetWidth;
    const height = card.offsetHeight;
    const left = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), document.documentElement.clientWidth - width - 8);
    const below = box.bottom + 6;
    const above = box.top - height - 6;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${below + height > window.innerHeight && above > 0 ? above : below}px`;
  };
  const open = (link) => {
    const content = cards[link.dataset.cell];
    if (!content) return;
    clearTimeout(timer);
    close();
    owner = link;
    fill(content);
    card.hidden = false;
    place(link);
    link.setAttribute("aria-describedby", "card");
  };
  const close = () => {
    clearTimeout(timer);
    card.hidden = true;
    if (owner) owner.removeAttribute("aria-describedby");
    owner = null;
  };
  const later = (action, wait) => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
  const cellOf = (event) => (event.target.closest ? event.target.closest("a[data-cell]") : null);
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    const link = cellOf(event);
    if (link && link !== owner) later(() => open(link), 120);
    else if (link || card.contains(event.target)) clearTimeout(timer);
    else later(close, 250);
  });
  document.addEventListener("focusin", (event) => {
    const link = cellOf(event);
    if (link && link.matches(":focus-visible")) open(link);
    else if (!card.contains(event.target)) close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  document.addEventListener("scroll", () => (owner ? close() : null), { capture: true, passive: true });
  document.addEventListener("click", close);

  if (window.matchMedia("(max-width: 70rem)").matches) byId("contents").open = false;
  window.addEventListener("hashchange", reveal);
  // The same link twice changes no hash.
  document.addEventListener("click", (event) => {
    const link = event.target.closest ? event.target.closest('a[href^="#"]') : null;
    if (link && link.getAttribute("href") === location.hash) reveal();
  });
  if (location.hash) reveal();
})();
