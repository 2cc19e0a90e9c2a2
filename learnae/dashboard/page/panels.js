// Draws the parts. Whatever a peer has said becomes text, never markup.
import { ask } from "/app.js";

const SVG = "http://www.w3.org/2000/svg";
const SIGNS = { learning: "●", settled: "◼", alone: "○", "catching up": "◐", listening: "◔", "held back": "◑", summaries: "Σ", waiting: "◌", "needs attention": "▲" };
const STATES = { merged: "● merged", heard: "○ heard", settled: "◼ settled", muted: "▲ muted", banned: "✕ banned", away: "◌ away", summaries: "Σ summaries", joined: "+ joined" };
const ORDER = ["banned", "muted", "merged", "settled", "heard", "summaries", "away", "joined"];
const MOST_ROWS = 50;
const byId = (id) => document.getElementById(id);

export function el(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "share") made.style.setProperty("--share", value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svg(tag, props) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props || {})) made.setAttribute(name, value);
  return made;
}

const digits = (value) => (value === null || value === undefined ? "–" : value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e5) ? value.toExponential(3) : value.toPrecision(4));
const share = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
const bare = (name) => name.replace(/#[a-z2-7]{8,52}$/, "");  // the key stands beside it
const whole = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

function when(time) {
  if (!time) return "–";
  return Date.now() - time < 43200000 ? clock(time) : new Date(time).toLocaleDateString("en-GB");
}

function bytes(value) {
  if (value === null || value === undefined) return "–";
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB") return unit === "B" ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
}

function ago(time) {
  if (!time) return "–";
  const seconds = Math.max(0, (Date.now() - time) / 1000);
  for (const [unit, length] of [["days", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 1.5 * length) return `${Math.round(seconds / length)} ${unit} ago`;
  }
  return `${Math.round(seconds)} s ago`;
}

function put(id, ...children) {
  byId(id).replaceChildren(...children);
}

function text(id, value) {
  const found = byId(id);
  if (found.textContent !== value) found.textContent = value;
}

function facts(id, pairs) {
  put(id, ...pairs.filter(Boolean).flatMap(([name, value]) => [el("dt", { text: name }), el("dd", {}, value instanceof Node ? value : document.createTextNode(value))]));
}

function table(heads, rows) {
  const head = el("tr", {}, ...heads.map((name, i) => el("th", { scope: "col", text: name, class: i ? "n" : null })));
  const body = rows.map((row) => el("tr", {}, ...row.map((value, i) => el("td", { text: value, class: i ? "n" : null }))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
}

function whenOpen(id, build) {
  const holder = byId(id);
  const details = holder.closest("details");
  holder.rebuild = () => details.open && holder.replaceChildren(build());
  if (!details.listens) {
    details.listens = true;
    details.addEventListener("toggle", () => holder.rebuild());
  }
  holder.rebuild();
}

// -- headline and tiles

function drawNow({ parts }) {
  const now = parts.now;
  text("sentence", now.text);
  text("remedy", now.remedy);
  text("sign", SIGNS[now.state] || "●");
  byId("remedy").hidden = !now.remedy;
  byId("hero").dataset.state = now.state;
  document.title = `${now.state} – ${parts.peer ? parts.peer.name : "Learnae"}`;
}

function drawPeer({ parts }) {
  const peer = parts.peer;
  text("name", bare(peer.shown));
  text("key", `#${peer.peer.slice(0, 8)}`);
  put("about", "in ", el("bdi", { text: peer.swarm_name }), ` · ${peer.role} · ${peer.task} · ${whole(peer.parameters)} parameters`);
  text("foot", `Learnae ${peer.software} · swarm ${peer.swarm}`);
  byId("invite-open").hidden = !peer.invite;
  drawLabels(peer.classes);
}

function tile(what, figure, more) {
  return el("li", {}, el("span", { class: "what", text: what }), el("span", { class: "figure", text: figure }), el("span", { class: "more", text: more || " " }));
}

function drawFigures({ parts, peers }) {
  const f = parts.figures;
  const own = f.personal && f.personal.score;
  const scored = f.accuracy !== null && f.accuracy !== undefined ? ["Accuracy", f.accuracy] : f.r2 !== undefined && f.r2 !== null ? ["R²", f.r2] : null;
  const rows = f.training_rows !== undefined ? `${whole(f.training_rows)} rows to learn from` : "";
  const merged = [...peers.values()].filter((peer) => !peer.me && peer.weight !== null).length;
  text("h-score", scored ? scored[0] : "How good");
  text("th-score", scored ? scored[0] : "Score");
  put("tiles",
    scored ? tile(`${scored[0]} here`, share(scored[1]), own !== null && own !== undefined ? `${share(own)} with the model for this machine` : `on ${whole(f.holdout_rows)} held-out rows`) : tile("Measured", "–", f.unmeasured || "nothing yet"),
    tile("Loss", digits(f.loss), f.mae !== undefined && f.mae !== null ? `mean absolute error ${digits(f.mae)}` : "on held-out rows"),
    tile("Merged now", `${merged}`, `of ${whole(f.following)} followed, ${whole(f.peers)} live`),
    tile("Steps", whole(f.steps), f.engine ? `${f.engine}${f.device ? ` on ${f.device}` : ""}` : rows),
    tile("Rows", whole(f.training_rows), `${whole(f.holdout_rows)} held out`),
    tile("Traffic", bytes(f.bytes_out), `${bytes(f.bytes_in)} in`));
  byId("panel-score").hidden = !scored;
  byId("panel-loss").classList.toggle("full", !scored);
}

// -- curves

const plots = {};
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function plotOf(id, series, options) {
  const holder = byId(id);
  const axis = { stroke: css("--quiet"), grid: { stroke: css("--faint") }, ticks: { stroke: css("--line") }, font: "12px system-ui, sans-serif" };
  const made = new uPlot({
    width: Math.max(160, holder.clientWidth), height: 260, padding: [12, 8, 0, 0],
    scales: { x: { time: true }, y: options.scale },
    axes: [{ ...axis, space: 90, values: (_, ticks, __, ___, step) => ticks.map((tick) => (step < 60 ? clock(tick * 1000) : clock(tick * 1000).slice(0, 5))) }, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : String(Number(tick.toPrecision(4))))) }],
    legend: { markers: { width: 2, dash: (u, i) => ((u.series[i].dash || []).length ? "dashed" : "solid") } },
    series: [{ value: (_, value) => (value === null ? "–" : clock(value * 1000)) }, ...series.map(([label, colour, dash, width]) => ({ label, stroke: css(colour), dash, width, points: { show: false }, spanGaps: true, value: (_, value) => digits(value) }))],
    hooks: { draw: [(u) => marks(u)] },
  }, options.data, holder);
  new ResizeObserver(() => made.setSize({ width: Math.max(160, holder.clientWidth), height: 260 })).observe(holder);
  return made;
}

let kept = [];

function marks(u) {
  const context = u.ctx;
  context.save();
  context.strokeStyle = css("--s3");
  context.fillStyle = css("--quiet");
  context.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  for (const version of kept) {
    const seconds = version.time / 1000;
    if (seconds < u.scales.x.min || seconds > u.scales.x.max) continue;
    const x = Math.round(u.valToPos(seconds, "x", true));
    context.setLineDash([2, 4]);
    context.beginPath();
    context.moveTo(x, u.bbox.top);
    context.lineTo(x, u.bbox.top + u.bbox.height);
    context.stroke();
    context.fillText(version.name, Math.min(x + 4, u.bbox.left + u.bbox.width - 30 * devicePixelRatio), u.bbox.top + 12 * devicePixelRatio);
  }
  context.restore();
}

function curve(id, data, series, scale) {
  if (!plots[id] || plots[id].theme !== css("--ink")) {
    if (plots[id]) plots[id].destroy();
    byId(id).replaceChildren();
    plots[id] = plotOf(id, series, { data, scale });
    plots[id].theme = css("--ink");
  } else plots[id].setData(data);
}

function drawPoints({ points }) {
  const times = points.map((point) => point[0] / 1000);
  const of = (place) => points.map((point) => point[place]);
  if (!times.length) return;
  if (!byId("panel-score").hidden) {
    curve("plot-score", [times, of(1), of(3), of(4)], [["all together", "--s1", [], 2.5], ["this machine's own", "--s2", [8, 4], 1.8], ["best kept", "--s3", [2, 4], 1.5]], { range: (_, low, high) => (low === null ? [0, 1] : [Math.max(Math.min(low - 0.02, high - 0.1), low < 0 ? low : 0), Math.min(1, high + 0.02)]) });
    whenOpen("table-score", () => table(["Time", "All together", "This machine's own", "Best kept"], sampled(points).map((p) => [clock(p[0]), share(p[1]), share(p[3]), share(p[4])])));
  }
  const losses = of(2).map((value) => (value > 0 ? value : null));
  curve("plot-loss", [times, losses], [["all together", "--s1", [], 2.5]], { distr: losses.some((value) => value !== null) ? 3 : 1, range: losses.some((v) => v !== null) ? undefined : [0, 1] });
  whenOpen("table-loss", () => table(["Time", "Loss"], sampled(points).map((p) => [clock(p[0]), digits(p[2])])));
}

function sampled(points) {
  const step = Math.max(1, Math.ceil(points.length / 60));
  return points.filter((_, i) => (points.length - 1 - i) % step === 0).reverse();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => last && drawPoints(last));

// -- peers

const rows = new Map();
let showsAll = false;

function drawPeers({ peers }) {
  const wanted = byId("peer-filter").value.trim().toLowerCase();
  const all = [...peers.values()].sort((a, b) => b.me - a.me || ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (b.weight || 0) - (a.weight || 0) || a.name.localeCompare(b.name));
  const found = wanted ? all.filter((peer) => `${peer.name} ${peer.key} ${peer.state}`.toLowerCase().includes(wanted)) : all;
  const shown = showsAll || wanted ? found.slice(0, 2000) : found.slice(0, MOST_ROWS);
  byId("peer-tools").hidden = all.length <= MOST_ROWS;
  byId("peer-all").hidden = showsAll || shown.length === found.length;
  text("peer-count", shown.length === all.length ? `${all.length}` : `${shown.length} of ${all.length}`);
  const body = byId("peers").tBodies[0];
  const used = new Set();
  shown.forEach((peer, place) => {
    let row = rows.get(peer.key);
    const said = JSON.stringify(peer);
    if (!row || row.said !== said) {
      const made = peerRow(peer);
      made.said = said;
      if (row) row.replaceWith(made);
      rows.set(peer.key, (row = made));
    }
    used.add(peer.key);
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] || null);
  });
  for (const [key, row] of rows) {
    if (used.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
}

function peerRow(peer) {
  const cell = (label, value, kind) => el("td", { "data-label": label, text: value, class: kind });
  const name = el("td", { "data-label": "Peer" }, el("bdi", { class: "name", text: bare(peer.name), title: peer.name }), " ", el("span", { class: "key", text: `#${peer.key}` }), peer.me ? " (this one)" : "");
  const state = el("td", { "data-label": "State" }, el("span", { class: "tag", "data-state": peer.state, text: STATES[peer.state] || peer.state }), peer.why ? el("span", { class: "why", text: peer.why }) : null);
  const age = cell("Heard", ago(peer.heard), "n");
  age.heard = peer.heard;
  return el("tr", { class: peer.me ? "me" : null }, name, state, age,
    cell("Weight", peer.weight === null ? "–" : `${(100 * peer.weight).toFixed(1)} %`, "n"), cell("Score", share(peer.score), "n"), cell("Loss", digits(peer.loss), "n"),
    cell("Steps", whole(peer.steps), "n"), cell("Out", bytes(peer.out), "n"), cell("In", bytes(peer.in), "n"), cell("Version", `${peer.version} ${peer.role}`));
}

byId("peer-filter").addEventListener("input", () => last && drawPeers(last));
byId("peer-all").addEventListener("click", () => {
  showsAll = true;
  if (last) drawPeers(last);
});

// -- lineage

function clipped(name, most) {
  const signs = [...name];
  return signs.length > most ? `${signs.slice(0, most - 1).join("")}…` : name;
}

function drawLineage({ parts, peers }) {
  const said = parts.lineage || { keys: [], events: [] };
  const events = said.events.map(([time, author, ...merged]) => [time, said.keys[author], merged.map((place) => said.keys[place])]);
  const nameOf = (key) => (peers.get(`peers/${key}`) ? bare(peers.get(`peers/${key}`).name) : key.slice(0, 8));
  const counts = new Map();
  for (const [, author, merged] of events) for (const key of [author, ...merged]) counts.set(key, (counts.get(key) || 0) + 1);
  const me = parts.peer && parts.peer.peer;
  const lanes = [...counts.keys()].sort((a, b) => (b === me) - (a === me) || counts.get(b) - counts.get(a)).slice(0, 12);
  if (!events.length) return put("plot-lineage", el("p", { class: "quiet", text: "No update has been heard in the last ten minutes." }));
  const narrow = byId("plot-lineage").clientWidth < 480;
  const [width, left, gap, top] = [narrow ? 360 : 720, narrow ? 86 : 130, 26, 12];
  const end = parts.now ? parts.now.time : Date.now();
  const begin = Math.min(events[0][0], end - 30000);
  text("lineage-since", `since ${clock(begin)}`);
  const x = (time) => left + 8 + ((time - begin) / (end - begin)) * (width - left - 20);
  const y = (key) => top + lanes.indexOf(key) * gap + gap / 2;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${top + lanes.length * gap + 22}`, role: "img", "aria-label": `Updates of ${lanes.length} peers, and which of them went into which; the table below holds them` });
  for (const key of lanes) {
    drawing.append(svg("line", { class: "row", x1: left, x2: width - 8, y1: y(key), y2: y(key) }));
    const label = svg("text", { x: 0, y: y(key) + 4 });
    label.textContent = clipped(key === me ? `${nameOf(key)} (this)` : nameOf(key), narrow ? 12 : 18);
    drawing.append(label);
  }
  const latest = new Map();
  const dots = [];
  for (const [time, author, merged] of events) {
    if (lanes.includes(author)) {
      for (const key of merged) {
        const from = latest.get(key);
        if (from === undefined || !lanes.includes(key)) continue;
        const [x1, x2, y1, y2] = [x(from), x(time), y(key), y(author)];
        drawing.append(svg("path", { class: author === me ? "merge mine" : "merge", d: `M${x1.toFixed(1)} ${y1} C${((x1 + x2) / 2).toFixed(1)} ${y1} ${((x1 + x2) / 2).toFixed(1)} ${y2} ${x2.toFixed(1)} ${y2}` }));
      }
      dots.push(svg("circle", { class: author === me ? "update own" : "update", cx: x(time).toFixed(1), cy: y(author), r: 3 }));
    }
    latest.set(author, time);
  }
  drawing.append(...dots);
  for (const [time, anchor] of [[begin, "start"], [end, "end"]]) {
    const label = svg("text", { class: "axis", x: anchor === "start" ? left : width - 8, y: top + lanes.length * gap + 16, "text-anchor": anchor });
    label.textContent = clock(time);
    drawing.append(label);
  }
  put("plot-lineage", drawing);
  whenOpen("table-lineage", () => table(["Time", "Peer", "Merged"], events.slice(-60).reverse().map(([time, author, merged]) => [clock(time), nameOf(author), merged.map(nameOf).join(", ") || "–"])));
}

// -- answers

function drawAnswers({ parts }) {
  const found = parts.answers;
  byId("panel-answers").hidden = !found;
  if (!found) return;
  text("answers-rows", `${whole(found.rows)} of ${whole(found.of)} held-out rows`);
  if (found.errors) return put("answers", table(["Of the rows", "err by at most"], found.errors.map(([of, value]) => [`${100 * of} %`, digits(value)])));
  const bars = found.classes.map((name, i) => [name, found.recall[i], found.counts[i]]).filter(([, , count]) => count);
  const recall = el("div", { class: "recall scroll", tabindex: 0, role: "region", "aria-label": "Right answers by class" }, ...bars.flatMap(([name, value, count]) => [
    el("bdi", { text: name, title: name }),
    el("div", { class: "bar" }, el("i", { share: value })),
    el("span", { class: "n", text: `${(100 * value).toFixed(1)} % of ${whole(count)}` }),
  ]));
  const kids = [el("p", { class: "quiet", text: "Right answers by class" }), recall];
  const most = Math.max(1, ...found.counts);
  if (found.pairs && found.classes.length <= 12) {
    const head = el("tr", {}, el("th", { scope: "col", text: "is \\ said" }), ...found.classes.map((name) => el("th", { scope: "col", title: name }, el("bdi", { text: name }))));
    const body = found.pairs.map((row, i) => el("tr", {}, el("th", { scope: "row", title: found.classes[i] }, el("bdi", { text: found.classes[i] })), ...row.map((count, j) => el("td", { text: count, class: i === j ? "right" : null, share: count / most }))));
    const open = byId("answers").querySelector("details");
    const details = el("details", {}, el("summary", { text: "Table of confusions" }), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of confusions" }, el("table", { class: "matrix" }, el("thead", {}, head), el("tbody", {}, ...body))));
    details.open = open ? open.open : innerWidth > 640;
    kids.push(details);
  }
  put("answers", ...kids);
}

// -- the smaller panels

function drawIntake({ parts }) {
  const intake = parts.intake || {};
  const pairs = [];
  if (intake.samples !== undefined) pairs.push(["Windows", whole(intake.samples)]);
  if (intake.unlabelled) pairs.push(["Without a label", whole(intake.unlabelled)]);
  for (const [name, count] of Object.entries(intake.unknown_labels || {})) pairs.push([`Unknown label ${name}`, whole(count)]);
  const buffer = intake.buffer || {};
  if (buffer.bytes !== undefined) pairs.push(["Buffer", `${bytes(buffer.bytes)}${buffer.readings !== undefined ? `, ${whole(buffer.readings)} readings` : ""}`]);
  if (buffer.trouble) pairs.push(["Buffer says", buffer.trouble]);
  for (const [name, source] of Object.entries(intake.sources || {})) pairs.push([`Source ${name}`, `${source.state}${source.detail ? `, ${source.detail}` : ""}, ${whole(source.samples)} readings${source.error ? `: ${source.error}` : ""}`]);
  const result = intake.inference || {};
  if (result.count) {
    const anomaly = result.threshold !== undefined && result.threshold !== null;
    if (result.label !== null && result.label !== undefined) pairs.push(["It is now", el("span", {}, el("bdi", { text: result.label }), ` (${share(result.score)})`)]);
    else if (anomaly) pairs.push([result.score > result.threshold ? "▲ Anomaly" : "Normal", meter(result.score, result.threshold, `score ${digits(result.score)}, threshold ${digits(result.threshold)}`)]);
    else pairs.push(["Score", `${digits(result.score)}${result.no_threshold ? `; no threshold: ${result.no_threshold}` : ""}`]);
    pairs.push(["Windows judged", whole(result.count)]);
  }
  const board = intake.resources || {};
  if (board.temperature !== undefined && board.temperature !== null) pairs.push(["Board", `${board.temperature.toFixed(1)} °C`]);
  if (board.slowed_by && board.slowed_by.length) pairs.push(["Slowed by", board.slowed_by.join(", ")]);
  byId("panel-intake").hidden = !pairs.length;
  facts("intake", pairs);
}

function meter(value, most, said) {
  const bar = el("div", { class: value > most ? "bar over" : "bar" }, el("i", { share: most > 0 ? Math.min(1, Math.max(0, value / most)) : 0 }));
  return el("div", {}, document.createTextNode(said), bar);
}

let classesShown = "";

function drawLabels(classes) {
  const said = JSON.stringify(classes);
  byId("labels").hidden = !classes.length;
  if (said === classesShown) return;
  classesShown = said;
  const buttons = [...classes, ""].map((name) => {
    const made = el("button", { type: "button", "aria-pressed": "false" }, name ? el("bdi", { text: name }) : "nothing of these");
    made.addEventListener("click", async () => {
      try {
        await ask("/api/label", { label: name, seconds: null });
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === made));
        text("label-said", `Since ${clock(Date.now())} readings are ${name || "unlabelled"}, until another is chosen.`);
      } catch (error) {
        text("label-said", error.message);
      }
    });
    return made;
  });
  put("label-buttons", ...buttons);
}

function drawTraffic({ parts }) {
  const [f, budget] = [parts.figures, parts.budget || {}];
  const limits = [["A day", budget.per_day], ["An hour", budget.per_hour]].filter(([, most]) => most);
  const past = last ? last.traffic : null;
  facts("traffic", [
    ["Sent", bytes(f.bytes_out)],
    ["Received", bytes(f.bytes_in)],
    ...limits.map(([name, most]) => [`Limit: ${name.toLowerCase()}`, bytes(most)]),
    limits.length ? null : ["Limit", "none set"],
    ...Object.entries(parts.links || {}).map(([name, state]) => [name, state]),
    past,
  ]);
}

function drawPrivacy({ parts }) {
  const spent = parts.privacy;
  if (!spent) return put("privacy", el("p", { text: "Raw readings stay on this machine. Updates are not differentially private in this swarm; learnae audit shows what they tell." }));
  const said = `epsilon ${digits(spent.epsilon)}${spent.limit ? ` of ${digits(spent.limit)}` : ""}`;
  put("privacy", el("p", { text: `Spent, at delta ${spent.delta}, for one ${spent.protects}, in ${whole(spent.releases)} noisy steps` }), spent.limit ? meter(spent.epsilon, spent.limit, said) : el("p", { text: said }));
}

function drawVersions({ parts }) {
  kept = parts.versions || [];
  const directory = parts.peer ? parts.peer.directory : "";
  if (!kept.length) return put("versions", el("p", { class: "quiet", text: "None is kept yet." }));
  const said = kept.map((v) => [v.name, when(v.time), whole(v.steps), v.score === null ? digits(v.loss) : share(v.score)]);
  put("versions", table(["Version", "Kept", "Steps", kept.some((v) => v.score !== null) ? "Score" : "Loss"], said),
    el("p", { class: "quiet", text: "To take one with you:" }), el("p", {}, el("code", { text: `learnae export model.safetensors --peer ${/^[\w.-]+$/.test(directory) ? directory : `'${directory.replaceAll("'", "'\\''")}'`} --version ${kept[0].name}` })));
}

function drawWarnings({ parts, peers }) {
  const list = [...(parts.warnings || []).map((w) => [`${w.name} × ${whole(w.count)}`, w.text])];
  for (const peer of peers.values()) if (peer.state === "banned") list.push([`banned: ${peer.name}`, peer.why]);
  put("warnings", list.length ? el("ul", { class: "warnings" }, ...list.map(([name, said]) => el("li", {}, el("strong", {}, el("bdi", { text: name })), el("br"), said))) : el("p", { class: "quiet", text: "None since the start." }));
}

// -- invites

byId("invite-open").addEventListener("click", () => byId("invite").showModal());
byId("invite-close").addEventListener("click", () => byId("invite").close());
let until = 0;

byId("invite-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  byId("invite-error").hidden = true;
  try {
    const made = await ask("/api/invite", { uses: Number(form.get("uses")), hours: Number(form.get("hours")) });
    text("invite-code", `learnae join ${made.code}`);
    until = made.expires;
    byId("invite-made").hidden = false;
    put("invite-picture", ...(made.picture ? [picture(made.picture)] : []));
    if (!made.addresses.length) throw new Error("the code names no place where members are met: no broker is configured, and no peer here serves");
  } catch (error) {
    text("invite-error", error.message);
    byId("invite-error").hidden = false;
  }
});

function picture(lines) {
  const size = lines.length + 8;
  const path = lines.flatMap((line, y) => [...line].map((dark, x) => (dark === "1" ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("");
  const made = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": "The invite as a QR code", "shape-rendering": "crispEdges" });
  made.append(svg("rect", { width: size, height: size, fill: "#fff" }), svg("path", { d: path, fill: "#000" }));
  return made;
}

byId("invite-copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("invite-code").textContent);
  text("invite-copy", "Copied");
});

// -- all together

let last = null;

export function draw(state, changed) {
  last = state;
  const { parts } = state;
  const is = (...names) => names.some((name) => changed.has(name));
  if (!parts.figures || !parts.peer) return;
  if (is("now", "peer")) drawNow(state);
  if (is("peer")) drawPeer(state);
  if (is("figures", "peers")) drawFigures(state);
  if (is("versions", "peer")) drawVersions(state);
  if (is("points", "versions")) drawPoints(state);
  if (is("peers")) drawPeers(state);
  if (is("lineage", "peers")) drawLineage(state);
  if (is("answers")) drawAnswers(state);
  if (is("intake")) drawIntake(state);
  if (is("figures", "budget", "links")) drawTraffic(state);
  if (is("privacy")) drawPrivacy(state);
  if (is("warnings", "peers")) drawWarnings(state);
}

export function note() {
  for (const row of rows.values()) {
    const cell = row.cells[2];
    const said = ago(cell.heard);
    if (cell.textContent !== said) cell.textContent = said;
  }
  if (until) {
    const left = Math.max(0, Math.round((until - Date.now()) / 1000));
    text("invite-left", left ? `valid for ${Math.floor(left / 3600)} h ${Math.floor((left % 3600) / 60)} min ${left % 60} s` : "it has expired");
  }
}
