"use strict";
// The table of recordings and the view of one. Rows and transcripts come packed (see batch/archive/report/rows.py): all rows are read
// at once, a part with transcripts only when one of its recordings is opened. Text is only ever set as text.
(async () => {
  const $ = (id) => document.getElementById(id);
  const PAGE_ROWS = 50, PARTS_KEPT = 8, UNSURE = 0.6;
  const SVG = "http://www.w3.org/2000/svg";

  function make(name, attributes = {}, ...children) {
    const element = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(key, value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Response(stream).json();
  }

  const facts = await unpacked($("rows").textContent);
  const columns = facts.columns;
  const count = columns.key.length;
  const COLLECTED = 0, FAILED = 1;

  // ── how things are written ────────────────────────────────────────────────────────────────────────────────────

  const commas = (value) => value.toLocaleString("en-US");
  const two = (value) => String(value).padStart(2, "0");
  function clock(seconds) {
    const whole = Math.round(seconds), hours = Math.floor(whole / 3600);
    const minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  }
  const percent = (part) => `${(100 * part).toFixed(1)} %`;
  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  function moment(seconds) {
    const at = new Date(seconds * 1000);
    return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  }
  const encoded = (path) => path.split("/").map(encodeURIComponent).join("/");
  const address = (key) => "#/" + encodeURIComponent(key);
  const plural = (number, one) => `${commas(number)} ${one}${number === 1 ? "" : "s"}`;

  // ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────

  const COLUMNS = [
    { name: "key", title: "Recording", class: "wide" },
    { name: "state", title: "State", class: "state" },
    { name: "seconds", title: "Length", shown: (value) => clock(value / 10) },
    { name: "speakers", title: "Speakers", unit: "speakers" },
    { name: "words", title: "Words", shown: commas, unit: "words" },
    { name: "confidence", title: "Confidence", shown: (value) => percent(value / 1000), unit: "sure" },
    { name: "took", title: "Turnaround", shown: (value) => clock(value / 10), unit: "turnaround" },
    { name: "ended", title: "Ended (UTC)", shown: moment, class: "n ended" },
  ];
  const wish = { text: "", show: "all", sort: null, down: false, page: 0 };
  let order = [];
  let haystack = null;

  const is = {
    all: () => true,
    collected: (row) => columns.state[row] === COLLECTED,
    failed: (row) => columns.state[row] === FAILED,
    open: (row) => columns.state[row] > FAILED,
    warned: (row) => row in facts.warning || row in facts.problem,
  };

  function words(row) {
    return [columns.key[row], columns.labels[row], facts.kinds[columns.kind[row]], facts.reason[row], facts.warning[row]]
      .filter(Boolean).join("\n").toLowerCase();
  }

  function chosen() {
    const terms = wish.text.toLowerCase().split(/\s+/).filter(Boolean);
    if (terms.length && !haystack) haystack = columns.key.map((_, row) => words(row));
    const found = [];
    for (let row = 0; row < count; row++) {
      if (is[wish.show](row) && terms.every((term) => haystack[row].includes(term))) found.push(row);
    }
    return wish.sort ? sorted(found) : found;
  }

  let ranks = null;
  function rank() {
    if (!ranks) {
      const natural = new Intl.Collator("en", { numeric: true }).compare;
      ranks = new Uint32Array(count);
      [...columns.key.keys()].sort((a, b) => natural(columns.key[a], columns.key[b])).forEach((row, place) => { ranks[row] = place; });
    }
    return ranks;
  }

  // Rows without a value come last, whichever way it goes.
  function sorted(rows) {
    const values = wish.sort === "key" ? rank() : wish.sort === "state" ? columns.state.map((state, row) => 1000 * state + columns.kind[row]) : columns[wish.sort];
    const sign = wish.down ? -1 : 1;
    return rows.sort((a, b) => (values[a] === null) - (values[b] === null) || sign * (values[a] - values[b]) || a - b);
  }

  function recordingCell(row) {
    const notes = [];
    if (facts.reason[row]) notes.push(make("small", {}, facts.reason[row]));
    if (facts.problem[row]) notes.push(make("small", { class: "warm" }, facts.problem[row]));
    if (facts.warning[row]) notes.push(make("small", { class: "warm" }, facts.warning[row]));
    return make("td", { class: "wide" }, make("a", { href: address(columns.key[row]) }, columns.key[row]), ...notes);
  }

  function stateCell(row) {
    const state = columns.state[row], kind = facts.kinds[columns.kind[row]];
    const said = state === FAILED ? `failed: ${kind}` : row in facts.shared ? "shared" : kind;
    return make("td", { class: state === FAILED ? "state bad" : "state" }, said);
  }

  function cell(column, row) {
    if (column.name === "key") return recordingCell(row);
    if (column.name === "state") return stateCell(row);
    const value = columns[column.name][row];
    const shown = value === null ? "" : column.shown ? column.shown(value) : String(value);
    return make("td", { class: column.class || "n", "data-unit": column.unit }, shown);
  }

  function draw() {
    const first = wish.page * PAGE_ROWS, rows = order.slice(first, first + PAGE_ROWS);
    $("table").tBodies[0].replaceChildren(...rows.map((row) => make("tr", {}, ...COLUMNS.map((column) => cell(column, row)))));
    $("table").hidden = !rows.length;
    $("pager").hidden = order.length <= PAGE_ROWS;
    $("where").textContent = `${commas(first + 1)}–${commas(first + rows.length)} of ${commas(order.length)}`;
    $("before").disabled = !wish.page;
    $("after").disabled = first + PAGE_ROWS >= order.length;
    $("found").textContent = order.length === count ? plural(count, "recording") : order.length ? `${commas(order.length)} of ${plural(count, "recording")}` : count ? "No recording is like that." : "No recordings.";
    for (const heading of $("table").tHead.rows[0].cells) {
      const direction = heading.dataset.name !== wish.sort ? "none" : wish.down ? "descending" : "ascending";
      heading.setAttribute("aria-sort", direction);
    }
    $("sort").value = wish.sort ? `${wish.sort} ${wish.down ? "down" : "up"}` : "";
  }

  function choose(changes) {
    Object.assign(wish, { page: 0 }, changes);
    order = chosen();
    draw();
  }

  function turn(pages) {
    wish.page += pages;
    draw();
    $("found").scrollIntoView();
  }

  function sortBy(name) {
    if (wish.sort !== name) return choose({ sort: name, down: false });
    return choose(wish.down ? { sort: null, down: false } : { down: true });
  }

  function prepare() {
    $("table").tHead.rows[0].append(...COLUMNS.map((column) => make(
      "th", { scope: "col", class: column.class || "n", "data-name": column.name },
      make("button", { type: "button", click: () => sortBy(column.name) }, column.title),
    )));
    $("sort").append(make("option", { value: "" }, "order of the manifest"), ...COLUMNS.flatMap((column) => [
      make("option", { value: `${column.name} up` }, `${column.title} ↑`),
      make("option", { value: `${column.name} down` }, `${column.title} ↓`),
    ]));
    $("sort").addEventListener("change", (event) => {
      const [name, way] = event.target.value.split(" ");
      choose({ sort: name || null, down: way === "down" });
    });
    $("filter").hidden = false;
    $("filter").addEventListener("submit", (event) => event.preventDefault());
    $("search").addEventListener("input", (event) => choose({ text: event.target.value }));
    for (const pill of document.querySelectorAll("[data-show]")) preparePill(pill);
    $("before").addEventListener("click", () => turn(-1));
    $("after").addEventListener("click", () => turn(1));
  }

  function preparePill(pill) {
    let those = 0;
    for (let row = 0; row < count; row++) those += is[pill.dataset.show](row);
    pill.append(make("span", { class: "count" }, commas(those)));
    pill.hidden = !those && pill.dataset.show !== "all";
    pill.addEventListener("click", () => {
      for (const other of document.querySelectorAll("[data-show]")) other.setAttribute("aria-pressed", String(other === pill));
      choose({ show: pill.dataset.show });
    });
  }

  function prepareLinks() {
    for (const link of document.querySelectorAll("a.open")) link.href = address(link.dataset.key);
    for (const button of document.querySelectorAll(".copy")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button));
    }
  }

  async function copy(button) {
    const code = button.previousElementSibling;
    getSelection().selectAllChildren(code);
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // ── the details of a recording ────────────────────────────────────────────────────────────────────────────────

  const parts = new Map(), awaited = new Map();
  window.diarist = (number, text) => awaited.get(number)?.(text);

  function beside(number) {
    return new Promise((resolve, reject) => {
      awaited.set(number, resolve);
      const script = make("script", { src: `${encoded(facts.beside)}${number}.js` });
      script.addEventListener("error", () => reject(new Error(`its transcript is in ${facts.beside}${number}.js, which is not beside this page`)));
      document.head.append(script);
    });
  }

  async function read(number) {
    const inline = $(`part-${number}`);
    return unpacked(inline ? inline.textContent : await beside(number));
  }

  function part(number) {
    if (!parts.has(number)) {
      if (parts.size >= PARTS_KEPT) parts.delete(parts.keys().next().value);
      parts.set(number, read(number).catch((error) => { parts.delete(number); throw error; }));
    }
    return parts.get(number);
  }

  async function detail(row) {
    let number = facts.starts.length - 1;
    while (facts.starts[number] > row) number--;
    return (await part(number))[row - facts.starts[number]];
  }

  // ── the view of a recording ───────────────────────────────────────────────────────────────────────────────────

  const colour = (speaker) => `s${speaker % 8}`;
  const nameOf = (detail, speaker) => detail.speakers[speaker]?.[0] || "Speech";

  function list(name, pairs) {
    const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return make("dl", { class: name }, ...shown.map(([what, value]) => make("div", {}, make("dt", {}, what), make("dd", {}, value))));
  }

  function way(row) {
    const place = order.indexOf(row);
    const to = (other, said) => other === undefined ? null : make("a", { href: address(columns.key[other]) }, said);
    const beside = place < 0 ? [] : [to(order[place - 1], "← Previous"), to(order[place + 1], "Next →")];
    return make("nav", { class: "way", "aria-label": "Recordings" }, make("a", { href: "#" }, "All recordings"), make("span", {}, ...beside));
  }

  function summary(row, told) {
    const value = (name, shown = String) => columns[name][row] === null ? null : shown(columns[name][row]);
    return list("facts", [
      ["State", stateCell(row).textContent],
      ["Length", value("seconds", (tenths) => clock(tenths / 10))],
      ["Speakers", value("speakers")],
      ["Words", value("words", commas)],
      ["Confidence", value("confidence", (thousandths) => percent(thousandths / 1000))],
      ["Language", told.language],
      ["Turnaround", value("took", (tenths) => clock(tenths / 10))],
      ["Ended (UTC)", value("ended", moment)],
    ]);
  }

  const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800];
  const ROW = 46, BAR = 30;

  function timeline(told) {
    const total = Math.max(1, 1000 * told.seconds), bottom = ROW * told.speakers.length;
    const step = TICKS.find((tick) => told.seconds / tick <= 6) || TICKS[TICKS.length - 1];
    const picture = make("svg:svg", { class: "chart timeline", role: "img", width: "100%", height: bottom + 24 },
      make("svg:title", {}, "Who speaks when"),
      make("svg:desc", {}, told.speakers.map(([name, talk]) => `${name || "Speech"} ${clock(talk)}`).join(", ")));
    for (let at = 0; at <= told.seconds; at += step) {
      const x = `${(100 * at / told.seconds).toFixed(2)}%`, last = at > 0.97 * told.seconds;
      picture.append(make("svg:line", { class: "grid", x1: x, x2: x, y1: 4, y2: bottom + 4 }),
        make("svg:text", { x, y: bottom + 20, "text-anchor": !at ? "start" : last ? "end" : "middle" }, clock(at)));
    }
    told.speakers.forEach(([name], speaker) => {
      const top = ROW * speaker;
      const path = told.spans.filter(([who]) => who === speaker).map(([, start, end]) => `M${start} 0H${Math.max(end, start + total / 1000)}`).join("");
      picture.append(
        make("svg:text", { class: "who halo", x: 0, y: top + 18 }, name || "Speech"),
        make("svg:line", { class: "track", x1: 0, x2: "100%", y1: top + BAR, y2: top + BAR }),
        make("svg:svg", { class: colour(speaker), x: 0, y: top + BAR - 8, width: "100%", height: 16, viewBox: `0 -1 ${total} 2`, preserveAspectRatio: "none" },
          make("svg:path", { d: path })));
    });
    return picture;
  }

  function share(speaker, part) {
    return make("svg:svg", { class: `share ${colour(speaker)}`, viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("svg:rect", { class: "track", width: 100, height: 8 }), make("svg:rect", { class: "part", width: 100 * part, height: 8 }));
  }

  function shares(told) {
    const UNITS = ["of the talk", "talk", "turns", "longest", "interruptions", "words"];
    const titles = ["Speaker", "Share", "Talk", "Turns", "Longest", "Interrupts", "Words"];
    const rows = told.speakers.map(([name, talk, part, words, turns, longest, interruptions], speaker) => {
      const cells = [percent(part), clock(talk), commas(turns), clock(longest), commas(interruptions), commas(words)];
      return make("tr", {}, make("td", {}, make("b", {}, name || "Speech"), share(speaker, part)),
        ...cells.map((text, place) => make("td", { class: "n", "data-unit": UNITS[place] }, text)));
    });
    const head = make("thead", {}, make("tr", {}, ...titles.map((title, place) => make("th", { scope: "col", class: place ? "n" : null }, title))));
    return make("table", { class: "shares plain" }, head, make("tbody", {}, ...rows));
  }

  function turns(told, player) {
    let before = null;
    const rows = told.turns.map(([speaker, start, text, confidence]) => {
      const isNew = speaker !== before;
      before = speaker;
      const at = player ? make("button", { type: "button", class: "at", title: "Listen from here", click: () => listen(player, start / 1000) }, clock(Math.floor(start / 1000)))
        : make("span", { class: "at" }, clock(Math.floor(start / 1000)));
      const unsure = confidence < UNSURE;
      return make("li", { class: isNew ? "new" : null }, isNew ? make("span", { class: `who ${colour(speaker)}` }, nameOf(told, speaker)) : null,
        at, make("p", unsure ? { class: "unsure", title: `${percent(confidence)} sure` } : {}, text));
    });
    return make("ol", { class: "turns" }, ...rows);
  }

  // Only a page that is opened as a file, on the machine of the recordings, can play them.
  function playerOf(told) {
    if (location.protocol !== "file:" || !told.source.startsWith("/")) return null;
    const player = make("audio", { controls: true, preload: "none", src: `file://${encoded(told.source)}` });
    player.addEventListener("error", () => { player.hidden = true; });
    return player;
  }

  function listen(player, seconds) {
    const start = () => { player.currentTime = seconds; player.play().catch(() => {}); };
    if (player.readyState) return start();
    player.addEventListener("loadedmetadata", start, { once: true });
    return player.load();
  }

  const text = (value) => typeof value === "string" ? value : JSON.stringify(value);

  function more(row, told) {
    const key = columns.key[row], result = `${facts.results}${key}.json`;
    const pairs = [
      ["source", told.source], ["manifest", told.where], ["service", told.service], ["model", told.model], ["transcript id", told.id],
      ["same as", told.shared_with && make("a", { href: address(told.shared_with) }, told.shared_with)],
      ...Object.entries(told.labels).map(([name, value]) => [name, text(value)]),
      ...Object.entries(told.options).map(([name, value]) => [name, text(value)]),
      ["result", columns.state[row] === COLLECTED ? make("a", { href: encoded(result) }, result) : null],
    ];
    const rows = pairs.filter(([, value]) => value).map(([name, value]) => make("tr", {}, make("td", {}, name), make("td", {}, value)));
    return make("table", { class: "more-facts plain" }, make("tbody", {}, ...rows));
  }

  const titled = (title, ...content) => make("section", {}, make("h2", {}, title), ...content);

  function view(row, told) {
    const content = [way(row), make("h1", { tabindex: -1 }, columns.key[row]), summary(row, told)];
    for (const said of [facts.reason[row], facts.problem[row]]) if (said) content.push(make("p", { class: "note bad" }, said));
    for (const said of told.warnings || []) content.push(make("p", { class: "note" }, said));
    if (told.turns) {
      const player = playerOf(told);
      if (player) content.push(player);
      if (!told.turns.length) content.push(titled("Transcript", make("p", { class: "quiet" }, "Nobody speaks in this recording.")));
      else content.push(titled("Who speaks when", timeline(told)), titled("Talk shares", shares(told)), titled("Transcript", turns(told, player)));
    }
    return [...content, titled("About", more(row, told))];
  }

  let places = null, scrolled = 0, wanted = null;
  function rowOf(key) {
    places ||= new Map(columns.key.map((each, row) => [each, row]));
    return places.get(key);
  }

  function show(content) {
    if (!$("overview").hidden) scrolled = scrollY;
    $("recording").replaceChildren(...content);
    $("overview").hidden = true;
    $("recording").hidden = false;
    scrollTo(0, 0);
    $("recording").querySelector("h1")?.focus({ preventScroll: true });
  }

  async function open(key) {
    wanted = key;
    const row = rowOf(key);
    if (row === undefined) return show([make("nav", { class: "way" }, make("a", { href: "#" }, "All recordings")), make("h1", { tabindex: -1 }, "There is no such recording here"), make("p", { class: "sub" }, key)]);
    try {
      const told = await detail(row);
      if (wanted === key) show(view(row, told));
    } catch (error) {
      if (wanted === key) show([way(row), make("h1", { tabindex: -1 }, key), summary(row, {}), make("p", { class: "note bad" }, `It cannot be shown: ${error.message}`)]);
    }
  }

  function close() {
    wanted = null;
    if ($("overview").hidden) {
      $("recording").hidden = true;
      $("recording").replaceChildren();
      $("overview").hidden = false;
      scrollTo(0, scrolled);
    }
  }

  function follow() {
    if (!location.hash.startsWith("#/")) return close();
    try {
      return open(decodeURIComponent(location.hash.slice(2)));
    } catch {
      return close();
    }
  }

  prepare();
  prepareLinks();
  choose({});
  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("recording").hidden) location.hash = ""; });
  await follow();
  performance.mark("ready");
  document.documentElement.dataset.ready = "true";
})();
