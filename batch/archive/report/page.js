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
  const COLLECTED = 0, FAILED = 1, STATES = { collected: "transcribed", staged: "uploaded" };

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
  const NOTHING = { text: "", show: "all", kind: "", sort: null, down: false, page: 0 };
  const wish = { ...NOTHING };
  let order = [];
  let haystack = null;

  const is = {
    all: () => true,
    collected: (row) => columns.state[row] === COLLECTED,
    failed: (row) => columns.state[row] === FAILED,
    open: (row) => columns.state[row] > FAILED,
    warned: (row) => row in facts.warning || row in facts.problem,
  };

  const labels = (row) => columns.labels[row] ? columns.labels[row].split("\n").map((line) => {
    const space = line.indexOf(" ");
    return [facts.labels[line.slice(0, space)], line.slice(space + 1)];
  }) : [];

  // Words, "several together", and labels: name:value holds the value, name:"the value" is it.
  function asked(text) {
    const terms = [], wanted = [];
    for (const [, name, exact, part, phrase, word] of text.matchAll(/([^\s":]+):(?:"([^"]*)"|([^\s"]+))|"([^"]*)"?|(\S+)/g)) {
      const label = name && facts.labels.find((known) => known.toLowerCase() === name.toLowerCase());
      if (label) wanted.push([label, exact, part]);
      else terms.push(...[name && `${name}:${exact ?? part}`, phrase, word].filter(Boolean));
    }
    return { terms, wanted };
  }

  const bears = (row, [name, exact, part]) => labels(row).some(([label, value]) => label === name
    && (exact === undefined ? value.toLowerCase().includes(part.toLowerCase()) : value.toLowerCase() === exact.toLowerCase()));

  function words(row) {
    return [columns.key[row], columns.labels[row].replace(/^\d+ /gm, ""), facts.kinds[columns.kind[row]], facts.reason[row], facts.warning[row]]
      .filter(Boolean).join("\n").toLowerCase();
  }

  function chosen() {
    const { terms, wanted } = asked(wish.text);
    if (terms.length && !haystack) haystack = columns.key.map((_, row) => words(row));
    const found = [];
    for (let row = 0; row < count; row++) {
      if (is[wish.show](row) && (!wish.kind || facts.kinds[columns.kind[row]] === wish.kind)
        && terms.every((term) => haystack[row].includes(term.toLowerCase())) && wanted.every((label) => bears(row, label))) found.push(row);
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
    const said = state === FAILED ? `failed: ${kind}` : row in facts.shared ? "shared" : STATES[kind] || kind;
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
    if (wish.kind) $("found").append(" ", make("button", { type: "button", id: "unkind", click: () => choose({ kind: "" }) }, `only ${wish.kind} ✕`));
    const { terms, wanted } = asked(wish.text);
    $("spoken").hidden = !wish.text.trim();
    $("spoken").querySelector("code").textContent = ["diarist", "search", facts.directory, terms.join(" ") || "…",
      ...wanted.flatMap(([name, exact, part]) => ["--label", `${name}=${exact ?? part}`])].map(quoted).join(" ");
    for (const pill of document.querySelectorAll("[data-show]")) pill.setAttribute("aria-pressed", String(pill.dataset.show === wish.show));
    $("sort").value = wish.sort ? `${wish.sort} ${wish.down ? "down" : "up"}` : "";
  }

  const quoted = (word) => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

  // What is looked for is in the address, so that it can be kept, sent and gone back to.
  function listAddress() {
    const given = Object.entries(wish).filter(([name, value]) => value !== NOTHING[name]).map(([name, value]) => [name, value === true ? "1" : value]);
    return given.length ? `#?${new URLSearchParams(given)}` : "#";
  }

  function fromAddress(hash) {
    const given = new URLSearchParams(hash.startsWith("#?") ? hash.slice(2) : "");
    const show = given.get("show"), sort = given.get("sort");
    return {
      text: given.get("text") || "", show: Object.hasOwn(is, show) ? show : "all", kind: given.get("kind") || "",
      sort: COLUMNS.some(({ name }) => name === sort) ? sort : null, down: given.get("down") === "1", page: Math.max(0, Math.floor(given.get("page")) || 0),
    };
  }

  function choose(changes) {
    Object.assign(wish, { page: 0 }, changes);
    order = chosen();
    wish.page = Math.min(wish.page, Math.max(0, Math.ceil(order.length / PAGE_ROWS) - 1));
    draw();
    if (!$("overview").hidden && location.hash !== listAddress()) history.replaceState(null, "", listAddress());
  }

  function turn(pages) {
    history.pushState(null, "", location.href);
    choose({ page: wish.page + pages });
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
    pill.addEventListener("click", () => choose({ show: pill.dataset.show }));
  }

  function prepareLinks() {
    for (const link of document.querySelectorAll("a.open")) link.href = address(link.dataset.key);
    for (const link of document.querySelectorAll("a.kind")) {
      link.href = `#?${new URLSearchParams({ kind: link.dataset.kind })}`;
      link.addEventListener("click", () => $("recordings").scrollIntoView());
    }
    jumps($("overview"), $("overview").querySelector(".jump"));
    for (const button of document.querySelectorAll(".copy")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button));
    }
  }

  // A bar of the headings of a page, to jump to them.
  function jumps(page, bar) {
    const headings = [...page.querySelectorAll("h2")];
    bar.replaceChildren(...headings.map((heading) => make("button", { type: "button", click: () => heading.scrollIntoView() }, heading.textContent)));
    bar.hidden = headings.length < 2;
    return bar;
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
  // Names that are given here stay in this browser, by recording, until they are taken away as a file.
  const NAMES = `diarist names ${facts.directory}`;
  let given = {};
  try { given = JSON.parse(localStorage.getItem(NAMES)) || {}; } catch { /* a browser that keeps nothing */ }
  const label = (told, speaker) => told.speakers[speaker]?.[7] || "";
  const nameOf = (told, speaker) => given[told.key]?.[label(told, speaker)] || told.speakers[speaker]?.[0] || "Speech";

  function rename(told, speaker, name) {
    const names = { ...given[told.key], [label(told, speaker)]: name.trim() };
    if (!name.trim()) delete names[label(told, speaker)];
    given = { ...given, [told.key]: names };
    if (!Object.keys(names).length) delete given[told.key];
    try { localStorage.setItem(NAMES, JSON.stringify(given)); } catch { /* it lasts as long as the page, then */ }
    for (const each of $("recording").querySelectorAll(`[data-speaker="${speaker}"]`)) each.textContent = nameOf(told, speaker);
    $("take-names").hidden = !Object.keys(given).length;
  }

  function toml() {
    const tables = Object.entries(given).map(([key, names]) => [`[${JSON.stringify(key)}]`, ...Object.entries(names).map(([who, name]) => `${JSON.stringify(who)} = ${JSON.stringify(name)}`), ""]);
    return ["# diarist export --speakers names.toml", "", ...tables.flat()].join("\n");
  }

  function save(name, content) {
    const link = make("a", { href: URL.createObjectURL(new Blob([content], { type: "text/plain" })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ── captions and text ───────────────────────────────────────────────────────────────────────────────────────────

  const LINE = 42, CUE_SECONDS = 7, FRAME = 0.04;
  function stamp(seconds, point) {
    const ms = Math.round(1000 * seconds);
    return `${two(Math.floor(ms / 3600000))}:${two(Math.floor(ms / 60000) % 60)}:${two(Math.floor(ms / 1000) % 60)}${point}${String(ms % 1000).padStart(3, "0")}`;
  }

  // The words of a turn with their times in seconds; where a turn has no times for its words, all of it as one.
  function wordsOf([, start, text, , steps], until) {
    if (!steps.length) return [[text, start / 1000, until]];
    let at = start / 1000;
    return text.split(" ").map((word, place) => [word, at, at += FRAME * (steps.charCodeAt(place) - 48)]);
  }

  const endOf = (told, place) => told.turns[place + 1] ? told.turns[place + 1][1] / 1000 : told.seconds;

  function cues(told) {
    const made = [];
    told.turns.forEach((turn, place) => {
      let cue = null;
      for (const [word, start, end] of wordsOf(turn, endOf(told, place))) {
        if (!cue || cue.text.length + word.length > 2 * LINE - 2 || end - cue.start > CUE_SECONDS) made.push(cue = { who: turn[0], start, end, text: "" });
        cue.text += cue.text ? ` ${word}` : word;
        cue.end = Math.max(end, cue.start + 0.05);
      }
    });
    return made.map((cue, place) => ({ ...cue, end: Math.max(cue.start + 0.05, Math.min(cue.end, made[place + 1]?.start ?? cue.end)) }));
  }

  function inLines(text) {
    if (text.length <= LINE) return text;
    const middle = text.length / 2, spaces = [...text.matchAll(/ /g)].map(({ index }) => index);
    const at = spaces.sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle))[0];
    return at === undefined ? text : `${text.slice(0, at)}\n${text.slice(at + 1)}`;
  }

  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const WRITTEN = {
    srt: (told) => cues(told).map((cue, place) => `${place + 1}\n${stamp(cue.start, ",")} --> ${stamp(cue.end, ",")}\n${inLines(`${nameOf(told, cue.who)}: ${cue.text}`)}\n`).join("\n"),
    vtt: (told) => `WEBVTT\n\n${cues(told).map((cue) => `${stamp(cue.start, ".")} --> ${stamp(cue.end, ".")}\n<v ${plain(nameOf(told, cue.who)).replaceAll(">", "")}>${inLines(plain(cue.text))}\n`).join("\n")}`,
    txt: (told) => told.turns.map(([who, start, said]) => `[${clock(Math.floor(start / 1000))}] ${nameOf(told, who)}: ${said}\n`).join("\n"),
  };

  function takeAway(told) {
    const name = told.key.split("/").pop();
    return make("p", { class: "take" },
      ...Object.entries(WRITTEN).map(([form, write]) => make("button", { type: "button", "data-form": form, click: () => save(`${name}.${form}`, write(told)) }, form)),
      make("button", { type: "button", id: "take-names", hidden: !Object.keys(given).length, click: () => save("names.toml", toml()) }, "names.toml"));
  }

  function list(name, pairs) {
    const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return make("dl", { class: name }, ...shown.map(([what, value]) => make("div", {}, make("dt", {}, what), make("dd", {}, value))));
  }

  function way(row) {
    const place = order.indexOf(row);
    const to = (other, said) => other === undefined ? null : make("a", { href: address(columns.key[other]) }, said);
    const beside = place < 0 ? [] : [to(order[place - 1], "← Previous"), to(order[place + 1], "Next →")];
    return make("nav", { class: "way", "aria-label": "Recordings" }, make("a", { href: listAddress() }, "All recordings"), make("span", {}, ...beside));
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
        make("svg:text", { class: "who halo", x: 0, y: top + 18, "data-speaker": speaker }, nameOf(told, speaker)),
        make("svg:line", { class: "track", x1: 0, x2: "100%", y1: top + BAR, y2: top + BAR }),
        make("svg:svg", { class: colour(speaker), x: 0, y: top + BAR - 8, width: "100%", height: 16, viewBox: `0 -1 ${total} 2`, preserveAspectRatio: "none" },
          make("svg:path", { d: path })));
    });
    return make("div", { class: "track-area" }, picture, make("div", { class: "playhead", hidden: true }));
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
      const input = make("input", { class: "name", value: given[told.key]?.[label(told, speaker)] || "", placeholder: "Name", "aria-label": `Name of ${name || "the speaker"}`,
        input: (event) => rename(told, speaker, event.target.value), change: (event) => rename(told, speaker, event.target.value) });
      return make("tr", {}, make("td", {}, make("b", { "data-speaker": speaker }, nameOf(told, speaker)), label(told, speaker) ? input : null, share(speaker, part)),
        ...cells.map((text, place) => make("td", { class: "n", "data-unit": UNITS[place] }, text)));
    });
    const head = make("thead", {}, make("tr", {}, ...titles.map((title, place) => make("th", { scope: "col", class: place ? "n" : null }, title))));
    return make("table", { class: "shares plain" }, head, make("tbody", {}, ...rows));
  }

  function turns(told, player) {
    let before = null;
    const rows = told.turns.map(([speaker, start, text, confidence, steps, doubts]) => {
      const isNew = speaker !== before;
      before = speaker;
      const at = player ? make("button", { type: "button", class: "at", title: "Listen from here", click: () => listen(player, start / 1000) }, clock(Math.floor(start / 1000)))
        : make("span", { class: "at" }, clock(Math.floor(start / 1000)));
      const unsure = confidence < UNSURE;
      return make("li", { class: isNew ? "new" : null }, isNew ? make("span", { class: `who ${colour(speaker)}`, "data-speaker": speaker }, nameOf(told, speaker)) : null,
        at, make("p", unsure && !steps.length ? { class: "unsure", title: `${percent(confidence)} sure` } : {}, ...marked(text, steps, doubts)));
    });
    return make("ol", { class: "turns" }, ...rows);
  }

  // Words of which the service was not sure are marked; others become elements of their own only when a turn is
  // played or pointed at, because a recording of hours has tens of thousands.
  function marked(text, steps, doubts) {
    if (!steps.length || !doubts.length) return [text];
    const words = text.split(" "), pieces = [];
    let from = 0;
    for (let pair = 0; pair < doubts.length; pair += 2) {
      const place = doubts[pair], before = words.slice(from, place).join(" ");
      pieces.push(from ? " " : "", before, before ? " " : "", make("mark", { class: "unsure", title: `${doubts[pair + 1]} % sure` }, words[place]));
      from = place + 1;
    }
    return [...pieces, from && from < words.length ? " " : "", words.slice(from).join(" ")];
  }

  function inWords(item, turn) {
    const [, , text, , steps, doubts] = turn;
    if (!steps.length || item.dataset.words) return;
    item.dataset.words = "true";
    const sure = new Map();
    for (let pair = 0; pair < doubts.length; pair += 2) sure.set(doubts[pair], doubts[pair + 1]);
    const pieces = text.split(" ").flatMap((word, place) => [place ? " " : "", sure.has(place)
      ? make("mark", { class: "unsure word", "data-word": place, title: `${sure.get(place)} % sure` }, word)
      : make("span", { class: "word", "data-word": place }, word)]);
    item.querySelector("p").replaceChildren(...pieces);
  }

  // ── what is played ────────────────────────────────────────────────────────────────────────────────────────────

  let playing = null;

  // The player, the timeline and the turns move together. Whoever scrolls away is not pulled back until they play.
  function together(told, player, area, list) {
    const items = [...list.children], starts = told.turns.map(([, start]) => start / 1000);
    const head = area.querySelector(".playhead");
    let now = -1, word = null, follows = true;
    const placeAt = (seconds) => { let low = 0, high = starts.length; while (low < high) { const mid = (low + high) >> 1; if (starts[mid] <= seconds) low = mid + 1; else high = mid; } return low - 1; };
    function mark(seconds) {
      const place = placeAt(seconds + 0.01);
      head.hidden = false;
      head.style.setProperty("--at", String(Math.min(1, seconds / Math.max(told.seconds, 0.001))));
      if (place !== now) {
        items[now]?.classList.remove("now");
        items[now]?.removeAttribute("aria-current");
        now = place;
        items[now]?.classList.add("now");
        items[now]?.setAttribute("aria-current", "true");
        if (items[now] && follows && player && !player.paused) items[now].scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      }
      word?.classList.remove("said");
      word = null;
      if (now < 0) return;
      inWords(items[now], told.turns[now]);
      const spoken = wordsOf(told.turns[now], endOf(told, now)).findLastIndex(([, start]) => start <= seconds + 0.01);
      word = items[now].querySelector(`[data-word="${spoken}"]`);
      word?.classList.add("said");
    }
    function to(seconds, plays) {
      follows = true;
      if (!player) { const item = items[Math.max(0, placeAt(seconds))]; mark(seconds); return item?.scrollIntoView({ block: "center" }); }
      return plays ? listen(player, seconds) : seek(player, seconds, mark);
    }
    list.addEventListener("pointerover", (event) => { const item = event.target.closest("li"); if (item) inWords(item, told.turns[items.indexOf(item)]); });
    list.addEventListener("click", (event) => {
      const said = event.target.closest("[data-word]"), item = event.target.closest("li");
      if (!said || !player || !getSelection().isCollapsed) return;
      const place = items.indexOf(item);
      to(wordsOf(told.turns[place], endOf(told, place))[said.dataset.word][1], true);
    });
    area.addEventListener("click", (event) => {
      const box = area.getBoundingClientRect();
      to(told.seconds * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)), true);
    });
    if (!player) return;
    list.classList.add("playable");
    for (const leaves of ["wheel", "touchmove"]) list.addEventListener(leaves, () => { follows = false; }, { passive: true });
    player.addEventListener("play", () => { follows = true; });
    player.addEventListener("timeupdate", () => mark(player.currentTime));
    player.addEventListener("seeking", () => mark(player.currentTime));
    playing = { player, to: (seconds) => to(Math.max(0, seconds), !player.paused) };
  }

  function seek(player, seconds, mark) {
    if (player.readyState) player.currentTime = seconds;
    else { player.addEventListener("loadedmetadata", () => { player.currentTime = seconds; }, { once: true }); player.load(); }
    mark(seconds);
  }

  // Space plays and pauses, the arrows go five seconds, as in every player.
  function keyed(event) {
    if ($("recording").hidden) return;
    if (event.key === "Escape") { location.hash = listAddress(); return; }
    const busy = event.target.closest?.("input, select, textarea, audio, [contenteditable]") || (event.key === " " && event.target.closest?.("button, a"));
    if (!playing || busy || event.altKey || event.ctrlKey || event.metaKey || playing.player.hidden) return;
    const { player, to } = playing;
    if (event.key === " ") player.paused ? listen(player, player.currentTime) : player.pause();
    else if (event.key === "ArrowLeft") to(player.currentTime - 5);
    else if (event.key === "ArrowRight") to(player.currentTime + 5);
    else return;
    event.preventDefault();
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
    playing = null;
    if (told.turns) {
      told = { ...told, key: columns.key[row] };
      const player = playerOf(told), bar = make("div", { class: "player" });
      if (player) bar.append(player);
      content.push(bar);
      if (!told.turns.length) content.push(titled("Transcript", make("p", { class: "quiet" }, "Nobody speaks in this recording.")));
      else {
        const area = timeline(told), list = turns(told, player);
        together(told, player, area, list);
        const doubted = told.turns.reduce((sum, [, , , , steps, doubts]) => sum + (steps.length ? doubts.length / 2 : 0), 0);
        if (doubted) bar.append(make("button", { type: "button", id: "doubted", title: "Go to the next word that the service doubted", click: () => nextDoubt(list) }, `${plural(doubted, "word")} in doubt ↓`));
        content.push(titled("Who speaks when", area), titled("Talk shares", shares(told)), titled("Transcript", takeAway(told), list));
      }
    }
    content.push(titled("About", more(row, told)));
    const page = make("div", {}, ...content);
    content.splice(1, 0, jumps(page, make("nav", { class: "jump", "aria-label": "On this page" })));
    return content;
  }

  function nextDoubt(list) {
    const all = [...list.querySelectorAll("mark.unsure")], now = all.findIndex((each) => each.classList.contains("looked-at"));
    all[now]?.classList.remove("looked-at");
    const next = all[(now + 1) % all.length];
    next.classList.add("looked-at");
    next.scrollIntoView({ block: "center" });
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
    if (row === undefined) return show([make("nav", { class: "way" }, make("a", { href: listAddress() }, "All recordings")), make("h1", { tabindex: -1 }, "There is no such recording here"), make("p", { class: "sub" }, key)]);
    try {
      const told = await detail(row);
      if (wanted === key) show(view(row, told));
    } catch (error) {
      if (wanted === key) show([way(row), make("h1", { tabindex: -1 }, key), summary(row, {}), make("p", { class: "note bad" }, `It cannot be shown: ${error.message}`)]);
    }
  }

  function close() {
    wanted = playing = null;
    if ($("overview").hidden) {
      $("recording").hidden = true;
      $("recording").replaceChildren();
      $("overview").hidden = false;
      scrollTo(0, scrolled);
    }
  }

  function follow() {
    if (!location.hash.startsWith("#/")) {
      close();
      const asks = fromAddress(location.hash);
      $("search").value = asks.text;
      return choose(asks);
    }
    try {
      return open(decodeURIComponent(location.hash.slice(2)));
    } catch {
      return close();
    }
  }

  prepare();
  prepareLinks();
  Object.assign(wish, fromAddress(location.hash));
  order = chosen();
  addEventListener("hashchange", follow);
  addEventListener("keydown", keyed);
  await follow();
  performance.mark("ready");
  document.documentElement.dataset.ready = "true";
})();
