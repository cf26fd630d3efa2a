// The page of one souk node. Offers and the log's checkpoint come from the open
// event stream; jobs need the token that stands behind # in the address and
// never leaves this page except to this node.
"use strict";

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const tokens = (atoms) => {
  const s = String(atoms ?? 0).padStart(7, "0");
  return (s.slice(0, -6) + "." + s.slice(-6)).replace(/\.?0+$/, "");
};
const short = (id) => (id && id.length > 16 ? id.slice(0, 6) + "…" + id.slice(-6) : id || "");

function row(cells) {
  const tr = document.createElement("tr");
  for (const [text, cls] of cells) {
    const td = document.createElement("td");
    td.textContent = text;
    if (cls) td.className = cls;
    tr.append(td);
  }
  return tr;
}

function empty(id, text) {
  const tr = row([[text, "dim"]]);
  tr.firstChild.colSpan = 6;
  $(id).replaceChildren(tr);
}

// ---- offers and checkpoint: open to all ----

const offers = new Map();

function drawOffers() {
  const list = [...offers.values()].sort((a, b) => a.price_atoms_per_hour - b.price_atoms_per_hour);
  $("offers-n").textContent = list.length ? `(${list.length})` : "";
  if (!list.length) return empty("offers", "no offers yet: they appear as providers publish them");
  $("offers").replaceChildren(...list.map((o) => {
    const tr = row([[o.class], [o.model], [`${o.free} of ${o.count}`, "num"], [tokens(o.price_atoms_per_hour), "num"], [o.region || "–"], [short(o.provider), "id"]]);
    tr.title = o.provider;
    return tr;
  }));
}

function watchMarket() {
  const events = new EventSource("/v1/events");
  events.onopen = () => { offers.clear(); $("notice").hidden = true; drawOffers(); };
  events.onerror = () => {
    $("notice").hidden = false;
    $("notice").textContent = "The daemon does not answer; this page tries again by itself.";
  };
  events.addEventListener("offer", (e) => {
    const o = JSON.parse(e.data), key = o.provider + "/" + o.class;
    if (!o.ended) offers.set(key, o);
    else if (offers.get(key)?.sequence === o.sequence) offers.delete(key);
    drawOffers();
  });
  events.addEventListener("checkpoint", (e) => { $("checkpoint").textContent = JSON.parse(e.data).note; });
}

// ---- jobs: with the token ----

async function call(method, body = {}) {
  const r = await fetch("/souk.api.v1." + method, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer " + token },
    body: JSON.stringify(body),
  });
  const answer = await r.json();
  if (!r.ok) throw new Error(answer.message || r.statusText);
  return answer;
}

// stream reads a Connect server stream of JSON: a flag byte and a length before each message.
async function* stream(method, body, signal) {
  const json = new TextEncoder().encode(JSON.stringify(body));
  const frame = new Uint8Array(5 + json.length);
  new DataView(frame.buffer).setUint32(1, json.length);
  frame.set(json, 5);
  const r = await fetch("/souk.api.v1." + method, {
    method: "POST", signal, body: frame,
    headers: { "Content-Type": "application/connect+json", Authorization: "Bearer " + token },
  });
  let buf = new Uint8Array();
  for (const reader = r.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const next = new Uint8Array(buf.length + value.length);
    next.set(buf);
    next.set(value, buf.length);
    buf = next;
    while (buf.length >= 5) {
      const size = new DataView(buf.buffer, buf.byteOffset).getUint32(1);
      if (buf.length < 5 + size) break;
      if (buf[0] & 2) return;
      yield JSON.parse(new TextDecoder().decode(buf.subarray(5, 5 + size)));
      buf = buf.slice(5 + size);
    }
  }
}

let picked = null, following = null;

function drawJobs(jobs) {
  $("jobs-n").textContent = jobs.length ? `(${jobs.length})` : "";
  if (!jobs.length) return empty("jobs", "no jobs yet: souk run job.yaml starts one");
  $("jobs").replaceChildren(...jobs.map((j) => {
    const live = !j.ended;
    const tr = row([[j.job.slice(0, 8), "id"], [j.name || ""], [j.state + (j.reason && j.reason !== "completed" ? ": " + j.reason : ""), live ? "running" : j.state === "done" ? "done" : ""],
      [tokens(j.paidAtoms), "num"], [String(j.receipts ?? 0), "num"], [short(j.provider), "id"]]);
    tr.className = "pick";
    tr.tabIndex = 0;
    tr.title = j.detail || j.job;
    tr.onclick = () => follow(j);
    tr.onkeydown = (e) => { if (e.key === "Enter") follow(j); };
    return tr;
  }));
  if (!picked && jobs.length) follow(jobs[0]);
}

async function follow(j) {
  if (picked === j.job) return;
  picked = j.job;
  following?.abort();
  const mine = following = new AbortController();
  $("job").hidden = false;
  $("job-h").textContent = `${j.name || j.job.slice(0, 8)}: log`;
  const pre = $("log"), decode = new TextDecoder();
  pre.textContent = "";
  try {
    for await (const e of stream("Jobs/Follow", { id: j.job, logs: true }, mine.signal)) {
      if (!e.log) continue;
      const bottom = pre.scrollTop + pre.clientHeight > pre.scrollHeight - 20;
      pre.append(decode.decode(Uint8Array.from(atob(e.log.data), (c) => c.charCodeAt(0)), { stream: true }));
      if (bottom) pre.scrollTop = pre.scrollHeight;
    }
  } catch (err) {
    if (!mine.signal.aborted) pre.append("\n" + err.message);
  }
}

async function watchJobs() {
  for (; ;) {
    try {
      const s = await call("Node/Status");
      $("node").textContent = `${short(s.peer)} · ${s.peers ?? 0} peers · chain ${s.chainId ?? "none"}`;
      $("node").title = s.peer;
      drawJobs((await call("Jobs/List")).jobs ?? []);
    } catch (err) {
      $("node").textContent = err.message;
    }
    await new Promise((r) => setTimeout(r, 1000));
  }
}

watchMarket();
if (token) watchJobs();
else $("node").textContent = "market view: open the address that souk dashboard prints to see jobs";
