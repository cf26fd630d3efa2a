// The page of one souk node. Offers and the log's checkpoint come from the event
// stream, which is open to all; jobs and money need the token that stands behind #
// in the address. The token goes to this node alone, and the page only reads.
"use strict";

const token = new URLSearchParams(location.hash.slice(1)).get("token");
const mostOffers = 100, mostJobs = 20, mostReceipts = 10; // rows shown; the rest is counted
const mostLog = 300_000; // characters of a job's log kept in the page

// ---- words ----

const $ = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const short = (peer) => (peer ?? "").slice(0, 14); // as the commands show and take it
const count = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

// exact writes atoms as tokens by moving the point: amounts never become floats.
function exact(atoms) {
  const s = String(atoms ?? 0).padStart(7, "0");
  return s.slice(0, -6) + "." + s.slice(-6);
}

const tokens = (atoms) => exact(atoms).replace(/0{1,4}$/, "");

function clock(when) {
  const t = new Date(when), two = (n) => String(n).padStart(2, "0");
  const day = `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} `;
  return (t.toDateString() === new Date().toDateString() ? "" : day) + [t.getHours(), t.getMinutes(), t.getSeconds()].map(two).join(":");
}

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
}

const took = (j) => span((j.ended ? Date.parse(j.ended) : Date.now()) - Date.parse(j.started));
const look = (j) => (!j.ended ? "live" : j.state === "done" ? "done" : j.state === "stopped" ? "" : "bad");
const title = (j) => j.name || j.job.slice(0, 8);

// ---- drawing: texts are set as texts, so that nothing a peer says is ever markup ----

function el(tag, props = {}, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}

function set(e, prop, value = "") {
  if (e[prop] !== value) e[prop] = value;
}

// rows shows one row for each item, [key, cells], and touches only what changed:
// focus and selection stay where they are.
function rows(body, items) {
  const had = new Map([...body.children].map((tr) => [tr.dataset.key, tr]));
  const list = items.map(([key, cells]) => {
    const tr = had.get(key) ?? el("tr", {}, ...cells.map((c) => el("td", {}, el(c.press ? "button" : "span", { onclick: c.press }), el("small"))));
    tr.dataset.key = key;
    cells.forEach((c, i) => {
      const [text, note] = tr.children[i].children;
      set(tr.children[i], "className", c.cell);
      set(tr.children[i], "title", c.title);
      set(text, "className", c.cls);
      set(text, "textContent", c.text);
      set(note, "textContent", c.note);
      set(note, "hidden", !c.note);
    });
    return tr;
  });
  for (const [key, tr] of had) if (!list.includes(tr)) tr.remove();
  list.forEach((tr, i) => { if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] ?? null); });
  return list;
}

// facts fills a list of names and values; empty values are left out.
function facts(list, pairs) {
  const want = pairs.filter(([, value]) => value);
  while (list.children.length > 2 * want.length) list.lastChild.remove();
  want.forEach(([name, value, cls], i) => {
    if (list.children.length === 2 * i) list.append(el("dt"), el("dd", {}, el("span")));
    const text = list.children[2 * i + 1].firstChild;
    set(list.children[2 * i], "textContent", name);
    set(text, "textContent", value);
    set(text, "className", cls);
  });
}

const notices = new Map();

function notice(about, text) {
  if (text) notices.set(about, text);
  else notices.delete(about);
  const all = [...notices.values()].join(" ");
  set($("notice"), "textContent", all);
  set($("notice"), "hidden", !all);
}

// ---- the market: open to all ----

const offers = new Map();
let events = null, drawing = false, own = "";

// A burst of offers is drawn once.
function drawSoon() {
  if (drawing) return;
  drawing = true;
  setTimeout(() => { drawing = false; drawOffers(); }, 50);
}

function drawOffers() {
  const list = [...offers.values()].sort((a, b) => a.class.localeCompare(b.class) || a.price_atoms_per_hour - b.price_atoms_per_hour || a.provider.localeCompare(b.provider));
  $("offers-n").textContent = list.length > mostOffers ? `${list.length}, the first ${mostOffers} shown` : list.length || "";
  $("offers-none").hidden = list.length > 0;
  $("offers").parentElement.hidden = !list.length;
  rows($("offers"), list.slice(0, mostOffers).map((o) => [o.provider + "/" + o.class, [
    { text: o.class, note: [o.model === o.class ? "" : o.model.replace(/\((R|TM)\)/gi, ""), o.memory_bytes ? `${Math.round(o.memory_bytes / 2 ** 30)} GiB` : ""].filter(Boolean).join(", ") },
    { text: `${o.free ?? 0} of ${o.count ?? 0}`, cell: "num" },
    { text: tokens(o.price_atoms_per_hour), cell: "num" },
    { text: short(o.provider), cls: "id", title: o.provider, note: [o.region, o.provider === own ? "this node" : ""].filter(Boolean).join(", ") },
  ]]));
}

function drawCheckpoint(note) {
  const [origin, size, root] = note.split("\n");
  facts($("tree"), [["Log", origin, "id"], ["Entries", size], ["Root", root, "id"]]);
  $("checkpoint").textContent = note;
  $("tree-none").hidden = true;
  $("note").hidden = false;
}

function link(text, cls) {
  set($("link"), "textContent", text);
  set($("link"), "className", "state " + cls);
}

function watchMarket() {
  events?.close();
  const mine = events = new EventSource("/v1/events");
  mine.onopen = () => {
    link("live", "done");
    notice("daemon", "");
    offers.clear(); // the stream begins with all there are
    drawSoon();
  };
  mine.onerror = () => {
    if (!notices.has("daemon")) {
      notice("daemon", `The daemon does not answer since ${clock(Date.now())}. What is shown is from before; this page goes on by itself when it is back.`);
    }
    link("no answer", "bad");
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => { if (events === mine) watchMarket(); }, 2000);
  };
  mine.addEventListener("offer", (e) => {
    const o = JSON.parse(e.data), key = o.provider + "/" + o.class;
    if (!o.ended) offers.set(key, o);
    else if (offers.get(key)?.sequence === o.sequence) offers.delete(key);
    drawSoon();
  });
  mine.addEventListener("checkpoint", (e) => drawCheckpoint(JSON.parse(e.data).note));
}

// ---- calls: with the token ----

class TokenError extends Error {}

async function post(method, type, body, signal) {
  const r = await fetch("/souk.api.v1." + method, { method: "POST", body, signal, headers: { "Content-Type": type, Authorization: "Bearer " + token } });
  if (r.status === 401) throw new TokenError("The token in this page's address is not this node's: open the address that souk dashboard prints.");
  if (!r.ok) throw new Error((await r.json().catch(() => ({}))).message || r.statusText);
  return r;
}

const call = async (method, body = {}) => (await post(method, "application/json", JSON.stringify(body), AbortSignal.timeout(10_000))).json();

// stream reads a Connect server stream of JSON: a flag byte and a length before each
// message. The last one has flag 2, and the error if there was one.
async function* stream(method, body, signal) {
  const json = new TextEncoder().encode(JSON.stringify(body)), frame = new Uint8Array(5 + json.length);
  new DataView(frame.buffer).setUint32(1, json.length);
  frame.set(json, 5);
  const r = await post(method, "application/connect+json", frame, signal);
  let buf = new Uint8Array();
  for (const reader = r.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the stream broke off");
    const next = new Uint8Array(buf.length + value.length);
    next.set(buf);
    next.set(value, buf.length);
    buf = next;
    while (buf.length >= 5) {
      const size = new DataView(buf.buffer, buf.byteOffset).getUint32(1);
      if (buf.length < 5 + size) break;
      const message = JSON.parse(new TextDecoder().decode(buf.subarray(5, 5 + size)));
      if (buf[0] & 2) {
        if (message.error) throw new Error(message.error.message || message.error.code);
        return;
      }
      yield message;
      buf = buf.slice(5 + size);
    }
  }
}

// ---- jobs ----

let jobs = [], allJobs = false, shown = null;

function drawJobs() {
  $("jobs-n").textContent = jobs.length || "";
  $("jobs-table").hidden = !jobs.length;
  $("jobs-none").hidden = jobs.length > 0;
  $("jobs-none").replaceChildren("None yet. ", el("code", { textContent: "souk run job.yaml" }), " starts one.");
  $("jobs-all").hidden = allJobs || jobs.length <= mostJobs;
  $("jobs-all").textContent = `Show all ${jobs.length} jobs`;
  const list = rows($("jobs"), (allJobs ? jobs : jobs.slice(0, mostJobs)).map((j) => [j.job, [
    { text: title(j), note: j.name ? j.job.slice(0, 8) : "", press: () => show(j) },
    { text: j.state, cls: "state " + look(j), note: j.ended && j.state !== "done" && j.reason !== j.state ? j.reason : "", title: j.detail },
    { text: exact(j.paidAtoms), cell: "num" },
    { text: String(j.receipts ?? 0), cell: "num wide" },
    { text: clock(j.started), cell: "wide" },
    { text: took(j), cell: "num" },
  ]]));
  for (const tr of list) {
    const picked = tr.dataset.key === shown?.job.job;
    tr.onclick = () => tr.querySelector("button").onclick();
    set(tr, "className", picked ? "picked" : "");
    tr.querySelector("button").setAttribute("aria-pressed", picked);
  }
  const live = jobs.filter((j) => !j.ended).length;
  document.title = live ? `souk: ${count(live, "job")} running` : "souk";
  if (!shown && jobs.length) show(jobs[0]);
}

function drawJob() {
  const j = shown.job;
  $("job-h").textContent = `Job ${title(j)}`;
  facts($("job-facts"), [
    ["State", j.state, "state " + look(j)],
    ["Why", j.ended && j.state !== "done" ? [j.reason === j.state ? "" : j.reason, j.detail].filter(Boolean).join(": ") : ""],
    ["Exit code", j.exitCode ? String(j.exitCode) : ""],
    ["Paid", `${tokens(j.paidAtoms)} tokens` + (j.reserveAtoms ? ` of at most ${tokens(j.reserveAtoms)}` : "")],
    ["Devices", (j.devices ?? []).map((d) => `${d.count} × ${d.class}` + (j.devices.length > 1 ? ` at ${tokens(d.priceAtomsPerHour)}` : "")).join(", ")],
    ["Price", j.priceAtomsPerHour && !(j.devices?.length > 1) ? `${tokens(j.priceAtomsPerHour)} tokens an hour for each device` : ""],
    ["Started", `${clock(j.started)}, ${j.ended ? "took" : "for"} ${took(j)}`],
    ["Attempts", j.attempts > 1 ? String(j.attempts) : ""],
    ["Provider", j.provider, "id"],
    ["Job", j.job, "id"],
    ...Object.entries(j.outputs ?? {}).map(([name, cid]) => [`Output ${name}`, cid, "id"]),
  ]);
  $("job-declines").replaceChildren(...shown.declines.map((d) => el("li", { title: d.provider }, `${short(d.provider)} declined: ${d.detail || d.reason}`)));
  const signed = [...shown.receipts].reverse();
  $("receipts-part").hidden = !signed.length;
  set($("receipts-n"), "textContent", signed.length > mostReceipts ? `${signed.length}, the last ${mostReceipts} shown` : String(signed.length));
  rows($("receipts"), signed.slice(0, mostReceipts).map(([key, r]) => [key, [
    { text: r.kind === 2 ? `${r.seq}, final` : String(r.seq) },
    { text: clock(Number(r.endMs)) },
    { text: ran(r, shown.receipts.get(`${r.lease}/${Number(r.seq) - 1}`)), cell: "num" },
    { text: exact(r.cumulativeDueAtoms), cell: "num" },
  ]]));
}

// ran is the device time that a receipt adds to the one before it, for each class
// where there are several. Receipts of version 1 say it; later ones say what was used in all.
function ran(r, before) {
  const lines = (r.usage ?? []).filter((l) => l.unit.split("/")[0] === "device-ms");
  const used = (x, unit) => Number(x?.usage?.find((l) => l.unit === unit)?.quantity ?? 0);
  const seconds = (ms) => (ms / 1000).toFixed(1) + " s";
  if (!lines.length) return seconds(Number(r.deviceMilliseconds ?? 0));
  return lines.map((l) => [seconds(used(r, l.unit) - used(before, l.unit)), l.unit.split("/")[1]].filter(Boolean).join(" ")).join(", ");
}

// show follows one job. What came before a broken connection is not shown twice.
function show(j) {
  if (shown?.job.job === j.job) return;
  shown?.stop.abort();
  shown = { job: j, stop: new AbortController(), receipts: new Map(), declines: [], streams: {}, charts: new Charts($("charts")) };
  $("charts-part").hidden = true;
  $("log").replaceChildren();
  $("log-none").hidden = false;
  $("job").hidden = false;
  drawJobs();
  drawJob();
  follow(shown);
}

async function follow(view) {
  while (view === shown && !document.hidden) {
    try {
      view.stop = new AbortController();
      let declines = [];
      const until = view.job.ended ? Date.parse(view.job.ended) : Date.now();
      for await (const e of stream("Jobs/Follow", { id: view.job.job, logs: true, samplesSinceMs: String(Math.max(view.charts.last + 1, until - chartSpan)) }, view.stop.signal)) {
        if (view !== shown) return;
        if (e.metrics) {
          view.charts.add(e.metrics.samples);
          $("charts-part").hidden = false;
          continue;
        }
        if (e.log) addLog(view, e.log);
        if (e.receipt) view.receipts.set(`${e.receipt.lease}/${e.receipt.seq}`, e.receipt);
        if (e.decline) declines.push(e.decline), view.declines = declines;
        if (e.summary) view.job = e.summary;
        if (!e.log) drawJob();
      }
      if (view.job.ended) {
        $("log-none").textContent = "The job wrote nothing.";
        return;
      }
    } catch (err) {
      if (view.stop.signal.aborted || err instanceof TokenError) return;
    }
    await pause(1000);
  }
}

function addLog(view, { stream: name, offset = 0, data }) {
  const s = view.streams[name] ??= { seen: 0, decoder: new TextDecoder() };
  const bytes = Uint8Array.from(atob(data ?? ""), (c) => c.charCodeAt(0));
  const fresh = bytes.subarray(Math.max(0, s.seen - Number(offset)));
  s.seen = Math.max(s.seen, Number(offset) + bytes.length);
  const text = s.decoder.decode(fresh, { stream: true });
  if (!text) return;
  const pre = $("log"), bottom = pre.scrollTop + pre.clientHeight > pre.scrollHeight - 30;
  pre.append(el("span", { textContent: text, className: name === "LOG_STREAM_STDERR" ? "stderr" : "" }));
  $("log-none").hidden = true;
  for (view.kept = (view.kept ?? 0) + text.length; view.kept > mostLog && pre.childElementCount > 1;) {
    view.kept -= pre.firstChild.textContent.length;
    pre.firstChild.remove();
  }
  if (bottom) pre.scrollTop = pre.scrollHeight;
}

// ---- the node and its money ----

async function drawNode() {
  const [s, w] = await Promise.all([call("Node/Status"), call("Wallet/Balance").catch(() => null)]);
  own = s.peer;
  const chain = s.chainId ? `chain ${s.chainId} at block ${s.block ?? "?"}` : "no chain";
  set($("node"), "textContent", [short(s.peer), s.provider ? "buys and sells" : "buys", count(s.peers ?? 0, "peer"), chain, s.version].filter(Boolean).join(" · "));
  set($("node"), "title", s.peer);
  notice("chain", s.chainError ? `The chain does not answer: ${s.chainError}.` : "");
  notice("disk", s.readOnly ? `This node takes on nothing new: ${s.readOnly}.` : "");
  notice("gas", s.provider && w?.gasWei === "0" ? "The wallet has no gas, so deposits of clients cannot be sent: give it some (on a devnet: souk wallet faucet)." : "");
  $("wallet").hidden = !w;
  if (!w) return;
  $("wallet-free").textContent = tokens(w.walletAtoms);
  $("wallet-channels").textContent = tokens(w.channelsAtoms);
  $("wallet-earned").textContent = tokens(w.receivableAtoms);
  set($("wallet-ledger"), "textContent", w.balanced ? "balanced" : "does not balance");
  set($("wallet-ledger"), "className", w.balanced ? "done" : "bad");
}

const gib = (bytes) => (Number(bytes) / 2 ** 30).toFixed(1);
const told = (v, unit) => (v === undefined ? "–" : `${v}${unit}`); // what a device cannot tell is no 0

// drawDevices shows this machine's devices as they were a moment ago.
async function drawDevices() {
  const { devices = [], unknown = "" } = await call("Node/Devices");
  $("devices-part").hidden = !devices.length && !unknown;
  $("devices-n").textContent = devices.length || "";
  set($("devices-unknown"), "textContent", unknown && `There may be other devices: ${unknown}.`);
  $("devices-unknown").hidden = !unknown;
  rows($("devices"), devices.map((d) => {
    const now = d.now ?? {}, well = d.health === "ok", leased = Boolean(d.lease);
    return [d.id, [
      { text: d.class, title: d.id, note: [d.model, d.simulated ? "simulated" : "", d.driverVersion && `driver ${d.driverVersion}`].filter(Boolean).join(", ") },
      { text: !well ? "not for sale" : d.offSale ? "off sale" : d.withheld ? "in use by you" : leased ? "leased" : d.priceAtomsPerHour ? "free" : "not offered", cls: "state " + (!well || d.offSale ? "bad" : d.withheld ? "" : leased ? "live" : d.priceAtomsPerHour ? "done" : ""), note: !well ? d.health : d.offSale || d.withheld || (leased ? short(d.lease) : "") },
      { text: told(now.gpuUtil, " %"), cell: "num" },
      { text: (now.memoryUsedBytes === undefined ? "" : gib(now.memoryUsedBytes) + " of ") + gib(d.memoryBytes) + " GiB", cell: "num wide" },
      { text: told(now.gpuTempC, " °C"), cell: "num wide" },
      { text: now.powerMw === undefined ? "–" : Math.round(now.powerMw / 1000) + (d.powerLimitMw ? ` of ${Math.round(d.powerLimitMw / 1000)}` : "") + " W", cell: "num wide" },
      { text: d.priceAtomsPerHour ? tokens(d.priceAtomsPerHour) : "–", cell: "num" },
    ]];
  }));
}

async function watchOwn() {
  for (let round = 0; ; round++) {
    try {
      if (!document.hidden) {
        if (round % 4 === 0) await drawNode();
        await drawDevices();
        jobs = (await call("Jobs/List")).jobs ?? [];
        drawJobs();
        notice("own", "");
      }
    } catch (err) {
      if (err instanceof TokenError) {
        notice("own", err.message);
        return;
      }
      if (!(err instanceof TypeError)) notice("own", `The daemon says: ${err.message}.`); // a TypeError is no answer at all, which the event stream tells
    }
    await pause(1000);
  }
}

// A browser gives one host six connections in all, so hidden pages hold none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    events?.close();
    shown?.stop.abort();
    return;
  }
  watchMarket();
  if (shown && !shown.job.ended) follow(shown);
});
window.addEventListener("hashchange", () => location.reload()); // another token
$("jobs-all").onclick = () => { allJobs = true; drawJobs(); };
drawOffers();
watchMarket();
if (token) watchOwn();
