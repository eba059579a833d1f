// JSON trees: copy all of it, or the value or path of an item; search in it. The whole value is loaded when it is needed:
// the page shows only the beginning of long texts and lists.

const trees = new WeakMap();
const HIDDEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const shown = (text) => text.replace(HIDDEN, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
const isContainer = (value) => typeof value === "object" && value !== null;
const make = (tag, values, ...children) => {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
};

// The items that are shown directly below a tree or an item.
const itemsOf = (element) => element.querySelectorAll(":scope > details > ul > li:not(.quiet)");

// The key that an item shows, perhaps shortened.
function keyOf(item, value) {
  const text = item.querySelector(":scope > .key").textContent.replace(/:$/, "");
  if (Array.isArray(value)) return Number(text);
  if (Object.hasOwn(value, text)) return text;
  return Object.keys(value).find((each) => shown(each) === text || (text.endsWith("...") && shown(each).startsWith(text.slice(0, -3))));
}

const step = (key) => (typeof key === "number" ? `[${key}]` : /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`);

class Tree {
  constructor(element) {
    this.element = element;
    this.items = new Map(); // item -> { key, value, path }
    this.status = make("span", { className: "quiet small" });
    this.status.setAttribute("role", "status");
    this.copyAll = make("button", { type: "button", textContent: "Copy" });
    this.copyAll.addEventListener("click", async () => this.copy(await this.load().then(() => this.text), "Copied"));
    this.bar = make("div", { className: "tree-bar" }, this.copyAll, this.status);
    element.before(this.bar);
    if (element.querySelectorAll("li").length >= 5 || element.textContent.includes("...")) this.addSearch();
    this.addKeys();
  }

  // Load the whole value, and assign its parts to the items of the page.
  load() {
    this.loading ??= fetch(this.element.dataset.json).then(async (response) => {
      if (!response.ok) throw new Error(response.status);
      this.text = (await response.text()).trim();
      this.value = JSON.parse(this.text);
      this.assign(this.element, this.value, "$");
    }).catch(() => {
      this.loading = null;
      this.status.textContent = "the value cannot be loaded";
    });
    return this.loading;
  }

  assign(parent, value, path) {
    if (!isContainer(value)) return;
    for (const item of itemsOf(parent)) {
      const key = keyOf(item, value);
      if (key === undefined) continue;
      const entry = { key, value: value[key], path: path + step(key) };
      this.items.set(item, entry);
      this.assign(item, entry.value, entry.path);
    }
  }

  async copy(text, done) {
    if (text === undefined) return;
    this.status.textContent = (await copyText(text)) ? done : "the browser does not allow copying";
  }

  async copyItem(item, what) {
    await this.load();
    const entry = this.items.get(item);
    if (!entry) return;
    const number = item.querySelector(":scope > .number"); // as it is: JavaScript rounds large ones
    const value = typeof entry.value === "string" ? entry.value : number ? number.textContent : JSON.stringify(entry.value, null, 2);
    await this.copy(what === "path" ? entry.path : value, what === "path" ? `Copied ${entry.path}` : `Copied the value of ${entry.path}`);
  }

  // ---------------------------------------------------------------- keyboard

  addKeys() {
    const keys = this.element.querySelectorAll(".key");
    for (const key of keys) {
      key.tabIndex = key === keys[0] ? 0 : -1;
      key.setAttribute("role", "button");
      key.title = "c: copy the value, p: copy the path, arrows: move, open and close";
    }
    this.tools = make("span", { className: "tree-tools" });
    for (const what of ["value", "path"]) {
      const button = make("button", { type: "button", textContent: `Copy ${what}` });
      button.addEventListener("click", () => this.copyItem(this.tools.closest("li"), what));
      this.tools.append(button);
    }
    const point = (event) => {
      const key = event.target.closest("li:not(.quiet)")?.querySelector(":scope > .key");
      if (key && key.nextElementSibling !== this.tools) key.after(this.tools); // a button that moves loses its click
    };
    this.element.addEventListener("pointerover", (event) => this.element.contains(document.activeElement) || point(event));
    this.element.addEventListener("focusin", point);
    this.element.addEventListener("click", (event) => event.target.classList.contains("key") && event.target.focus());
    this.element.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    if (!event.target.classList.contains("key") || event.ctrlKey || event.metaKey || event.altKey) return;
    const item = event.target.closest("li");
    const details = item.querySelector(":scope > details");
    const keys = [...this.element.querySelectorAll(".key")].filter((each) => each.checkVisibility());
    const move = (steps) => keys[keys.indexOf(event.target) + steps]?.focus();
    const actions = {
      ArrowDown: () => move(1),
      ArrowUp: () => move(-1),
      ArrowRight: () => details && (details.open = true),
      ArrowLeft: () => (details?.open ? (details.open = false) : item.parentElement.closest("li")?.querySelector(".key")?.focus()),
      Enter: () => details && (details.open = !details.open),
      c: () => this.copyItem(item, "value"),
      p: () => this.copyItem(item, "path"),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  // ---------------------------------------------------------------- search

  addSearch() {
    const field = make("input", { type: "search", placeholder: "search", ariaLabel: "Search" });
    let timer;
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.search(field.value), 120);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !this.found?.length) return;
      event.preventDefault();
      this.at = ((this.at ?? (event.shiftKey ? 0 : -1)) + (event.shiftKey ? this.found.length - 1 : 1)) % this.found.length;
      for (const each of this.found) each.classList.toggle("here", each === this.found[this.at]);
      this.found[this.at].scrollIntoView({ block: "nearest" });
      this.status.textContent = `${this.at + 1} of ${this.found.length}`;
    });
    this.bar.prepend(field);
  }

  async search(given) {
    await this.load();
    const text = given.toLowerCase();
    this.found = [];
    this.at = undefined;
    const all = this.show(this.element, this.value, text);
    const ranges = text ? this.found.flatMap((item) => rangesOf(item, text)) : [];
    globalThis.CSS?.highlights && highlight(this, ranges);
    const rest = all - this.found.length;
    this.status.textContent = !text ? "" : `${all} ${all === 1 ? "match" : "matches"}${rest ? `, ${rest} in parts that are not shown: see JSON` : ""}`;
  }

  // Hide the items below `parent` without a match, open those with one, and return the number of matches.
  show(parent, value, text) {
    const known = new Set();
    let count = 0;
    for (const item of itemsOf(parent)) {
      const entry = this.items.get(item);
      if (!entry) continue;
      known.add(String(entry.key));
      const own = text !== "" && isMatch(entry.key, entry.value, text);
      const inner = this.show(item, entry.value, text);
      item.hidden = text !== "" && !own && !inner;
      item.classList.toggle("found", own);
      item.classList.remove("here");
      if (own) this.found.push(item);
      if (inner) item.querySelector(":scope > details")?.setAttribute("open", "");
      count += inner + (own ? 1 : 0);
    }
    if (text === "" || !isContainer(value)) return count;
    if (count) parent.querySelector(":scope > details")?.setAttribute("open", "");
    for (const [key, each] of entriesOf(value)) if (!known.has(String(key))) count += countIn(key, each, text);
    return count;
  }
}

// Keys of lists are numbers, which are not searched.
const entriesOf = (value) => (Array.isArray(value) ? [...value.entries()] : Object.entries(value));

const isMatch = (key, value, text) =>
  (typeof key === "string" && key.toLowerCase().includes(text)) || (!isContainer(value) && String(value).toLowerCase().includes(text));

function countIn(key, value, text) {
  const inner = isContainer(value) ? entriesOf(value).reduce((sum, [name, each]) => sum + countIn(name, each, text), 0) : 0;
  return inner + (isMatch(key, value, text) ? 1 : 0);
}

// The places of `text` in what an item shows itself.
function rangesOf(item, text) {
  const ranges = [];
  for (const part of item.querySelectorAll(":scope > .key, :scope > .string, :scope > .number, :scope > .word")) {
    const node = part.firstChild;
    const content = node?.nodeType === Node.TEXT_NODE ? node.data.toLowerCase() : "";
    for (let at = content.indexOf(text); at >= 0 && ranges.length < 200; at = content.indexOf(text, at + text.length)) {
      if (at + text.length > node.length) break;
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + text.length);
      ranges.push(range);
    }
  }
  return ranges;
}

const highlighted = new Map();
function highlight(tree, ranges) {
  highlighted.set(tree, ranges);
  CSS.highlights.set("found", new Highlight(...[...highlighted.values()].flat().slice(0, 5000)));
}

// ---------------------------------------------------------------- trees of the page, also those that are opened or updated later

function equip(root) {
  for (const element of root.querySelectorAll(".tree[data-json]")) {
    if (trees.has(element) || element.parentElement.closest("details:not([open])") || !element.firstElementChild) continue;
    trees.set(element, new Tree(element));
  }
}
equip(document);
document.addEventListener("toggle", (event) => event.target.open && equip(event.target), true);
document.addEventListener("updated", (event) => equip(event.detail));
