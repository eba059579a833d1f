// What the pages do beyond reading: parts that change while one looks, streams, copying, confirmations. Trees are in trees.js.

const parse = (text) => new DOMParser().parseFromString(text, "text/html");

// On a narrow screen the navigation is a row that is scrolled.
document.querySelector("[aria-current=page]")?.scrollIntoView({ inline: "center", block: "nearest" });

// ---------------------------------------------------------------- live parts

// The content of sections as the server sent it: the person opens parts of it.
const served = new WeakMap();
const remember = (...sections) => sections.forEach((each) => served.set(each, each.innerHTML));
remember(...document.querySelectorAll("[id]"));

// Replace what has changed below `root`, by the ids of its sections, and keep what the person has opened.
function update(root, fresh) {
  for (const next of fresh.querySelectorAll("section[id]")) {
    let after = document.getElementById(next.id) ? null : next.nextElementSibling;
    while (after && !document.getElementById(after.id)) after = after.nextElementSibling;
    if (after) remember(next), document.getElementById(after.id).before(next);
  }
  for (const section of root.querySelectorAll("[id]")) {
    const next = fresh.getElementById(section.id);
    if (!next || section.closest("[data-keep]") || section.querySelector("[data-stream], [data-load]") || section.closest("#stream, #files, #tries")) continue;
    if (section.parentElement.closest("section[id], div[id].head") || served.get(section) === next.innerHTML) continue;
    const open = new Set([...section.querySelectorAll("details[open][id]")].map((each) => each.id));
    if (section.querySelector("input[type=checkbox]:checked") || [...section.querySelectorAll("input[type=search]")].some((each) => each.value)) continue;
    if (section.contains(document.activeElement) && document.activeElement !== document.body) continue;
    remember(next, ...next.querySelectorAll("[id]"));
    section.replaceWith(next);
    showHere(next);
    document.dispatchEvent(new CustomEvent("updated", { detail: next }));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  }
}

// Times in the zone of a schedule, each followed by the viewer's if that differs.
function showHere(root) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const time of root.querySelectorAll("time[data-here]")) {
    if (time.dataset.here !== zone) {
      const here = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
      time.after(Object.assign(document.createElement("div"), { className: "quiet small", textContent: `${here} here` }));
    }
  }
}
showHere(document);

async function refresh(root) {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (response.redirected) location.reload();
    if (response.ok) update(root, parse(await response.text()));
    return response.ok;
  } catch {
    return false; // the server is away: the next attempt may find it
  }
}

for (const part of document.querySelectorAll("[data-live]")) {
  const seconds = Number(part.dataset.live);
  setInterval(() => document.hidden || refresh(part.id ? part.parentElement : part), seconds * 1000);
}

const job = document.querySelector("[data-job]");
if (job && !("ended" in job.dataset)) {
  let timer = null;
  const changes = new EventSource(job.dataset.changes);
  const changed = () => {
    timer ??= setTimeout(async () => {
      timer = null;
      await refresh(job);
    }, 300);
  };
  const events = ["state_entered", "task_dispatched", "task_taken", "task_succeeded", "task_failed", "task_timed_out", "task_retried",
    "branch_finished", "branch_kept", "branches_joined", "approval_requested", "decision_made", "timer_set", "timer_fired", "child_started",
    "child_finished", "handler_failed", "job_finished", "job_failed", "job_cancelled", "job_error", "job_quarantined",
    "job_resumed", "progress", "plan_changed"];
  for (const name of events) changes.addEventListener(name, changed);
  for (const name of ["job_finished", "job_failed", "job_cancelled", "job_error"]) changes.addEventListener(name, () => changes.close());
}

// ---------------------------------------------------------------- what skills write and log

const log = document.querySelector("[data-stream]");
if (log) {
  const most = 5000;
  const state = document.getElementById("stream-state");
  const stream = new EventSource(log.dataset.stream);
  let isEmpty = true;
  const add = (text, kind) => {
    if (isEmpty) log.textContent = "";
    isEmpty = false;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const line = document.createElement("span");
    line.className = kind;
    line.textContent = text;
    log.append(line);
    while (log.childNodes.length > most) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const data = (event) => JSON.parse(event.data);
  stream.addEventListener("text", (event) => add(data(event).data, ""));
  stream.addEventListener("json", (event) => add(JSON.stringify(data(event).data) + "\n", ""));
  stream.addEventListener("bytes", (event) => add(`${data(event).data.length} characters of base64\n`, "mark"));
  stream.addEventListener("log", (event) => {
    const { at, level, data: text } = data(event);
    add(`${at?.slice(11, 23) ?? ""} ${level} ${text}\n`, `level-${level.toLowerCase()}`);
  });
  stream.addEventListener("restart", (event) => add(`\n— ${data(event).task_id}, attempt ${data(event).attempt} —\n`, "mark"));
  stream.addEventListener("dropped", (event) => add(`\n— ${data(event).data} entries are missing —\n`, "mark"));
  stream.addEventListener("end", () => {
    stream.close();
    state.textContent = "complete";
    if (isEmpty) add("The skills wrote and logged nothing.", "mark");
  });
  stream.onopen = () => (state.textContent = "live");
  stream.onerror = () => (state.textContent = "reconnecting");
}

// ---------------------------------------------------------------- parts that are loaded later

for (const part of document.querySelectorAll("[data-load]")) {
  const load = () => fetch(part.dataset.load).then(async (response) => {
    const section = parse(await response.text()).getElementById(part.dataset.part ?? part.id);
    if (section) part.querySelector("p")?.remove(), part.append(...section.childNodes);
  }, () => {});
  if (part.tagName === "DETAILS") part.addEventListener("toggle", load, { once: true });
  else load();
}

// ---------------------------------------------------------------- small helps

document.querySelector("form[data-continue]")?.submit();

// For trees.js too. Copy text; also on pages without TLS, where browsers have no clipboard for scripts.
globalThis.copyText = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    before?.focus();
    return isCopied;
  }
};

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => confirm(form.dataset.confirm) || event.preventDefault());
}

for (const element of document.querySelectorAll("[data-copy]")) {
  element.title = "Click to copy";
  element.tabIndex = 0;
  const copy = async () => {
    if (await copyText(element.textContent)) element.title = "Copied";
  };
  element.addEventListener("click", copy);
  element.addEventListener("keydown", (event) => event.key === "Enter" && copy());
}

for (const box of document.querySelectorAll("[data-select-all]")) {
  box.addEventListener("change", () => {
    for (const each of box.form.elements) if (each.type === "checkbox") each.checked = box.checked;
  });
}
