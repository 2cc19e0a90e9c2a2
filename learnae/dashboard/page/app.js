// The page: one stream of changes, kept as parts, drawn by panels.js. Names are hostile: they only ever become text.
import { draw, note } from "/panels.js";

const parts = {};
const peers = new Map();
const points = [];
let stream = null;
let cursor = "";
let heard = 0;
let lost = 0;

export const byId = (id) => document.getElementById(id);

function apply(change) {
  if (change.all) {
    for (const name of Object.keys(parts)) delete parts[name];
    peers.clear();
  }
  for (const name of change.gone) {
    if (name.startsWith("peers/")) peers.delete(name);
    else delete parts[name];
  }
  const changed = new Set();
  for (const [name, value] of Object.entries(change.set)) {
    if (name.startsWith("peers/")) {
      peers.set(name, value);
      changed.add("peers");
    } else {
      parts[name] = value;
      changed.add(name);
    }
  }
  if (change.gone.some((name) => name.startsWith("peers/"))) changed.add("peers");
  const point = parts.now && parts.now.point;
  if (point && (!points.length || point[0] > points[points.length - 1][0])) {
    points.push(point);
    if (points.length > 7200) points.splice(0, points.length, ...points.filter((_, i) => i % 2 === 0));
    changed.add("points");
  }
  heard = Date.now();
  say("live");
  draw({ parts, peers, points }, changed);
}

function say(kind, text) {
  byId("link").className = `link ${kind}`;
  byId("link-text").textContent = text || (kind === "live" ? "live" : "connecting …");
  document.body.classList.toggle("stale", kind === "lost");
}

const clock = (time) => new Date(time).toLocaleTimeString();

function close(why) {
  if (stream) stream.close();
  stream = null;
  lost = lost || Date.now();
  say("lost", `not connected since ${clock(lost)}${why}`);
  setTimeout(begin, 3000);
}

async function begin() {
  try {
    const answer = await fetch("/api/state", { cache: "no-store" });
    if (answer.status === 401) return close(": type learnae dashboard, and open the address that it prints");
    if (!answer.ok) return close(`: ${(await answer.json()).error}`);
    cursor = (answer.headers.get("ETag") || "").replaceAll('"', "");
    const state = await answer.json();
    const since = points.length ? points[points.length - 1][0] : 0;
    const history = await (await fetch(`/api/history?since=${since}`)).json();
    points.push(...history.filter((point) => point[0] > since));
    lost = 0;
    apply(state);
    draw({ parts, peers, points }, new Set(["points"]));
  } catch {
    return close("");
  }
  stream = new EventSource(`/api/events?after=${encodeURIComponent(cursor)}`);
  stream.addEventListener("state", (event) => {
    lost = 0;
    apply(JSON.parse(event.data));
  });
  stream.onerror = () => {
    if (!stream) return;
    if (stream.readyState === EventSource.CLOSED) close("");
    else {
      lost = lost || Date.now();
      say("lost", `not connected since ${clock(lost)}`);
    }
  };
}

setInterval(() => {
  if (heard && !lost && Date.now() - heard > 15000) say("lost", `the peer has said nothing since ${clock(heard)}`);
  note({ parts, peers, points });
}, 1000);

export async function ask(path, wish) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wish) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.remedy ? `${said.error}; ${said.remedy}` : said.error);
  return said;
}

begin();
