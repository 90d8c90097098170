// The page of `extip scheduler --ui`. It keeps the rows that the server sends, and draws what differs.

const NOWHERE = "";
const FRESH_MS = 4000;
const ANIMATED = 60; // cells that glide to their new node; with more the eye follows none
const TOGETHER_MS = 5000; // moves of one node, for one reason, within so long are one line
const LINES = 100;
const KEPT = 500; // moves, as the server keeps

const ips = new Map(); // name of the claim -> {row, key, cell}
const nodes = new Map(); // name -> row
const pools = new Map();
const moves = new Map(); // ip, node and time -> move
const columns = new Map(); // name of the node -> {box, title, state, cells, entries}
const dirty = { ips: new Set(), nodes: new Set(), pools: false, moves: false };
let leader = "";
let chosen = null; // name of the claim that is explained
let words = [];
let drawing = false;
let quietUntilDrawn = true; // the first picture is no news
let news = [];

const find = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Addresses in the order of numbers, IPv4 first.
function sortKey(ip) {
  if (!ip.includes(":")) return "4" + ip.split(".").map((part) => part.padStart(3, "0")).join(".");
  const [head, tail] = ip.split("::").map((side) => (side ? side.split(":") : []));
  const groups = tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill("0"), ...tail];
  return "6" + groups.map((group) => group.padStart(4, "0")).join(":");
}

function when(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return "";
  const today = time.toDateString() === new Date().toDateString();
  return today ? time.toLocaleTimeString() : time.toLocaleString();
}

const labelOf = (row) => row.ip || row.services.join(", ");
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// Taking updates over.

function take(update) {
  if (update.fresh) forget();
  if (update.leader !== undefined && update.leader !== null) leader = update.leader;
  for (const [name, row] of Object.entries(update.ips ?? {})) {
    const old = ips.get(name);
    if (row === null) ips.set(name, { ...old, row: null });
    else ips.set(name, { ...old, row, key: sortKey(row.ip) + name });
    dirty.ips.add(name);
  }
  for (const [name, row] of Object.entries(update.nodes ?? {})) {
    if (row === null) nodes.delete(name);
    else nodes.set(name, row);
    dirty.nodes.add(name);
  }
  for (const [name, row] of Object.entries(update.pools ?? {})) {
    if (row === null) pools.delete(name);
    else pools.set(name, row);
    dirty.pools = true;
  }
  for (const move of update.moves ?? []) {
    moves.set(`${move.ip} ${move.node} ${move.time}`, move);
    dirty.moves = true;
  }
  shorten(moves);
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(draw);
  }
}

function shorten(kept) {
  for (const oldest of kept.keys()) {
    if (kept.size <= KEPT) return;
    kept.delete(oldest);
  }
}

function forget() {
  for (const name of ips.keys()) {
    ips.get(name).row = null;
    dirty.ips.add(name);
  }
  for (const name of nodes.keys()) dirty.nodes.add(name);
  nodes.clear();
  pools.clear();
  moves.clear();
  dirty.pools = dirty.moves = true;
  quietUntilDrawn = true;
}

// Drawing.

function draw() {
  drawing = false;
  for (const name of dirty.nodes) drawNode(name);
  dirty.nodes.clear();
  drawCells();
  if (dirty.pools) drawPools();
  if (dirty.moves) drawMoves();
  dirty.pools = dirty.moves = false;
  drawSummary();
  drawDetail();
  quietUntilDrawn = false;
  if (news.length) find("told").textContent = news.splice(0).slice(0, 5).join(". ");
  document.documentElement.dataset.drawn = String(ips.size);
}

function columnOf(name) {
  if (columns.has(name)) return columns.get(name);
  const id = `node-${columns.size}-${name}`;
  const title = make("h3", { id, textContent: name || "no node" });
  const state = make("p", { className: "state" });
  const cells = make("div", { className: "cells" });
  cells.setAttribute("role", "group");
  cells.setAttribute("aria-labelledby", id);
  const box = make("section", { className: "column" }, title, state, cells);
  box.setAttribute("aria-labelledby", id);
  box.dataset.node = name;
  const column = { box, title, state, cells, entries: [] };
  columns.set(name, column);
  const later = [...columns.keys()].sort(natural);
  const next = later[later.indexOf(name) + 1];
  find("columns").insertBefore(box, next === undefined ? null : columns.get(next).box);
  return column;
}

const natural = (a, b) => a.localeCompare(b, undefined, { numeric: true });

function drawNode(name) {
  const row = nodes.get(name);
  const column = columnOf(name);
  column.box.dataset.state = row ? row.state : "gone";
  drawCount(name);
}

function drawCount(name) {
  const column = columns.get(name);
  if (!column) return;
  const row = nodes.get(name);
  const held = column.entries.length;
  if (!row && !held) {
    column.box.remove();
    columns.delete(name);
    return;
  }
  const why = row && row.state !== "ready" && row.why ? `: ${row.why}` : "";
  const state = row ? row.state : name === NOWHERE ? "waiting" : "no controller of this name";
  column.box.dataset.state = row ? row.state : "gone";
  const more = row ? [row.links, row.version].filter(Boolean).join(", ") : "";
  column.state.textContent = `${state}${why}, ${counted(held, "IP")}${more ? ` (${more})` : ""}`;
}

function place(column, entry) {
  let low = 0;
  let high = column.entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column.entries[middle].key < entry.key) low = middle + 1;
    else high = middle;
  }
  const next = column.entries[low];
  column.entries.splice(low, 0, entry);
  return next ? next.cell : null;
}

function leave(entry) {
  const column = columns.get(entry.at);
  if (!column) return;
  const index = column.entries.indexOf(entry.placed);
  if (index >= 0) column.entries.splice(index, 1);
}

function drawCells() {
  const touched = new Set();
  const gliding = [];
  const appended = new Map(); // at the first picture: column -> cells, in order
  const changed = [...dirty.ips];
  dirty.ips.clear();
  if (changed.length > 500) changed.sort((a, b) => ((ips.get(a).key ?? "") < (ips.get(b).key ?? "") ? -1 : 1));
  for (const name of changed) {
    const entry = ips.get(name);
    if (entry.row === null) {
      if (entry.cell) {
        leave(entry);
        touched.add(entry.at);
        entry.cell.remove();
      }
      ips.delete(name);
      continue;
    }
    const { row } = entry;
    const isNew = !entry.cell;
    if (isNew) entry.cell = make("button", { type: "button", className: "cell", tabIndex: -1 });
    const { cell } = entry;
    cell.dataset.name = name;
    cell.dataset.state = row.state;
    cell.textContent = labelOf(row);
    cell.setAttribute("aria-pressed", String(name === chosen));
    const services = row.services.length ? `, for ${row.services.join(", ")}` : "";
    cell.setAttribute("aria-label", `${labelOf(row)}: ${row.state}${services}`);
    cell.title = [row.state, row.services.join(", "), row.why].filter(Boolean).join("\n");
    cell.hidden = !matches(row);
    if (isNew || entry.at !== row.node) {
      if (!isNew) {
        if (gliding.length < ANIMATED && !quietUntilDrawn) gliding.push([cell, cell.getBoundingClientRect()]);
        leave(entry);
        touched.add(entry.at);
      }
      entry.placed = { key: entry.key, cell };
      const column = columnOf(row.node);
      const next = place(column, entry.placed);
      if (isNew && next === null) {
        if (!appended.has(column)) appended.set(column, document.createDocumentFragment());
        appended.get(column).append(cell);
      } else {
        flush(appended, column);
        column.cells.insertBefore(cell, next);
      }
      entry.at = row.node;
    }
    touched.add(row.node);
  }
  for (const column of [...appended.keys()]) flush(appended, column);
  for (const name of touched) {
    drawCount(name);
    rove(columns.get(name));
  }
  glide(gliding);
  find("empty").hidden = ips.size > 0;
}

function flush(appended, column) {
  if (!appended.has(column)) return;
  column.cells.append(appended.get(column));
  appended.delete(column);
}

function glide(cells) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const [cell, from] of cells) {
    cell.classList.add("fresh");
    setTimeout(() => cell.classList.remove("fresh"), FRESH_MS);
    if (still) continue;
    const to = cell.getBoundingClientRect();
    const offset = `translate(${from.left - to.left}px, ${from.top - to.top}px)`;
    cell.animate([{ transform: offset }, { transform: "none" }], { duration: 450, easing: "ease-out" });
  }
}

function drawSummary() {
  const states = new Map();
  const broken = [];
  for (const [name, { row }] of ips) {
    states.set(row.state, (states.get(row.state) ?? 0) + 1);
    if (row.state !== "up") broken.push([name, row]);
  }
  const ready = [...nodes.values()].filter((row) => row.state === "ready").length;
  const parts = [`${states.get("up") ?? 0} of ${counted(ips.size, "IP")} up`];
  parts.push(`${ready} of ${counted(nodes.size, "node")} ready`);
  parts.push(leader ? `leader ${leader}` : "no scheduler leads");
  find("summary").textContent = parts.join(", ");
  document.title = broken.length ? `extip: ${broken.length} not up` : "extip";
  find("trouble").hidden = broken.length === 0;
  const shown = broken.slice(0, LINES).map(([name, row]) => {
    const button = make("button", { type: "button", textContent: labelOf(row) });
    button.dataset.name = name;
    return make("li", {}, button, make("span", { className: "why", textContent: ` ${row.state}: ${row.why}` }));
  });
  if (broken.length > LINES) shown.push(make("li", { textContent: `and ${broken.length - LINES} more` }));
  find("problems").replaceChildren(...shown);
}

function drawPools() {
  find("pools-section").hidden = pools.size === 0;
  const shown = [...pools.values()].sort((a, b) => natural(a.pool, b.pool)).map((row) => {
    const all = row.used + row.free;
    const bar = make("meter", { min: 0, max: all || 1, value: row.used, high: all * 0.9 });
    const text = `${row.pool} (${row.cidr}): ${row.used} used, ${row.free} free`;
    bar.setAttribute("aria-label", text);
    const why = row.state === "ok" ? row.why : `${row.state}: ${row.why}`;
    const item = make("li", {}, make("div", { textContent: text }), bar);
    if (why) item.append(make("div", { className: "why", textContent: why }));
    return item;
  });
  find("pools").replaceChildren(...shown);
}

function grouped() {
  const groups = [];
  const inOrder = [...moves.values()].sort((a, b) => (a.time < b.time ? 1 : -1));
  for (const move of inOrder) {
    const time = Date.parse(move.time);
    const same = groups.slice(-5).find((group) =>
      group.before === move.before && group.why === move.why && group.time - time <= TOGETHER_MS);
    if (same) same.moves.push(move);
    else if (groups.length < LINES) groups.push({ time, before: move.before, why: move.why, moves: [move] });
  }
  return groups;
}

function drawMoves() {
  const groups = grouped();
  find("no-moves").hidden = groups.length > 0;
  find("moves").replaceChildren(...groups.map(drawGroup));
}

function drawGroup(group) {
  const first = group.moves[0];
  const time = make("time", { dateTime: first.time, title: first.time, textContent: when(first.time) });
  const targets = [...new Set(group.moves.map((move) => move.node))].sort(natural);
  const what = group.moves.length === 1 ? first.ip : counted(group.moves.length, "IP");
  const where = ` ${group.before} → ${targets.join(", ")}`;
  const line = make("div", {}, time, ` ${what}${where}`);
  const item = make("li", {}, line, make("div", { className: "why", textContent: group.why }));
  if (group.moves.length > 1) {
    const each = group.moves.slice(0, LINES).map((move) => `${move.ip} → ${move.node}`);
    item.append(make("details", {}, make("summary", { textContent: "each" }), each.join(", ")));
  }
  if (!quietUntilDrawn && !told.has(first.time + group.why)) news.push(`${what}${where}: ${group.why}`);
  told.add(first.time + group.why);
  shorten(told);
  return item;
}
const told = new Set();

// One IP.

function drawDetail() {
  const row = chosen === null ? null : ips.get(chosen)?.row;
  find("detail").hidden = chosen === null;
  if (chosen === null) return;
  if (!row) {
    find("facts").replaceChildren(make("dt", { textContent: "State" }), make("dd", { textContent: "gone" }));
    return;
  }
  find("detail-title").textContent = labelOf(row);
  const facts = [
    ["State", row.state],
    ["Node", row.node || "none"],
    ["Interface", row.link],
    ["Since", when(row.since)],
    ["Why", row.why],
    ["Before", row.before],
    ["Services", row.services.join(", ")],
    ["Pool", row.pool],
  ];
  const shown = facts.filter(([, value]) => value);
  find("facts").replaceChildren(
    ...shown.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
}

function choose(name) {
  for (const each of [chosen, name]) ips.get(each)?.cell?.setAttribute("aria-pressed", String(each === name));
  chosen = name;
  drawDetail();
  if (name !== null) find("detail-title").focus();
}

// Search and keys.

function matches(row) {
  if (!words.length) return true;
  const text = [row.ip, row.node, row.state, row.pool, ...row.services].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function search() {
  words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const { row, cell } of ips.values()) {
    if (!cell) continue;
    cell.hidden = !matches(row);
    found += !cell.hidden;
  }
  find("found").textContent = words.length ? `${found} found` : "";
  for (const column of columns.values()) rove(column);
}

// One cell of each node is in the order of Tab; arrow keys move from there.
function rove(column) {
  if (!column) return;
  const cells = column.entries.map((entry) => entry.cell).filter((cell) => !cell.hidden);
  const current = cells.find((cell) => cell === document.activeElement) ?? cells.find((cell) => cell.tabIndex === 0) ?? cells[0];
  for (const cell of column.cells.querySelectorAll('[tabindex="0"]')) if (cell !== current) cell.tabIndex = -1;
  if (current) current.tabIndex = 0;
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

function step(event) {
  const cell = event.target.closest(".cell");
  if (!cell || !(event.key in STEPS)) return;
  const cells = [...cell.parentElement.querySelectorAll(".cell:not([hidden])")];
  const index = Math.min(Math.max(cells.indexOf(cell) + STEPS[event.key], 0), cells.length - 1);
  cell.tabIndex = -1;
  cells[index].tabIndex = 0;
  cells[index].focus();
  event.preventDefault();
}

document.addEventListener("click", (event) => {
  const named = event.target.closest("[data-name]");
  if (named) choose(named.dataset.name);
});
find("columns").addEventListener("keydown", step);
find("close").addEventListener("click", () => back());
find("search").addEventListener("input", search);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== find("search")) {
    find("search").focus();
    event.preventDefault();
  } else if (event.key === "Escape") back();
});

function back() {
  const cell = chosen === null ? null : ips.get(chosen)?.cell;
  choose(null);
  cell?.focus();
}

// The stream. The browser opens it again by itself when it ends.

function connect() {
  const stream = new EventSource("stream");
  stream.onmessage = (event) => take(JSON.parse(event.data));
  stream.onopen = () => tell("live", "");
  stream.onerror = () => {
    tell("connection lost, trying again; what is shown may be old", "lost");
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000); // a proxy refused it
  };
}

function tell(text, className) {
  Object.assign(find("connection"), { textContent: text, className });
}

connect();
