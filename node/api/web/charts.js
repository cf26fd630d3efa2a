// Line charts of what the devices of one job measure, over its last ten minutes.
"use strict";

const chartSpan = 10 * 60_000; // milliseconds shown
const chartGap = 5_000; // samples further apart are not joined
const chartWide = 300, chartHigh = 80;

const round = (n, digits) => n.toFixed(digits).replace(/\.0+$/, "");

// ceiling is the next of 1, 2 and 5 times a power of ten that is not below n.
function ceiling(n) {
  const ten = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map((m) => m * ten).find((top) => top >= n);
}

// What is drawn of a sample. What a device cannot tell is missing, and no 0.
const chartKinds = [
  { name: "In use", unit: " %", digits: 0, least: 100, of: (s) => s.gpuUtil },
  { name: "Processor in use", unit: " cores", digits: 2, least: 1, of: (s) => s.cpuMilli && s.cpuMilli / 1000 },
  { name: "Memory", unit: " GiB", digits: 2, least: 0.01, of: (s) => s.memoryUsedBytes && Number(s.memoryUsedBytes) / 2 ** 30 },
  { name: "Power", unit: " W", digits: 0, least: 10, of: (s) => s.powerMw && Number(s.powerMw) / 1000 },
  { name: "Temperature", unit: " °C", digits: 0, least: 100, of: (s) => s.gpuTempC },
];

// Charts keeps samples and draws them into box.
class Charts {
  constructor(box) {
    this.box = box;
    this.lines = new Map(); // samples by device
    this.last = 0; // the time of the newest
    this.box.replaceChildren();
  }

  add(samples) {
    for (const s of samples) {
      const at = Number(s.atMs);
      if (!this.lines.has(s.device)) this.lines.set(s.device, []);
      this.lines.get(s.device).push({ ...s, at });
      this.last = Math.max(this.last, at);
    }
    for (const list of this.lines.values()) while (list.length && list[0].at < this.last - chartSpan) list.shift();
    this.timer ??= setTimeout(() => { this.timer = undefined; this.draw(); }, 100); // a burst is drawn once
  }

  draw() {
    const first = Math.min(...[...this.lines.values()].filter((l) => l.length).map((l) => l[0].at));
    const from = Math.min(first, this.last - 1000);
    const names = el("ul", { className: "legend" }, ...[...this.lines.keys()].map((id, i) => el("li", { className: `line-${i % 6}`, textContent: id })));
    this.box.replaceChildren(...chartKinds.map((kind) => this.chart(kind, from)).filter(Boolean), names);
  }

  // chart is one kind as a figure; nothing where no device tells it.
  chart(kind, from) {
    let top = kind.least;
    const told = [...this.lines.values()].map((list) => list.filter((s) => kind.of(s) !== undefined));
    if (told.every((list) => !list.length)) return null;
    for (const list of told) for (const s of list) top = Math.max(top, kind.of(s));
    top = ceiling(top);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${chartWide} ${chartHigh}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    told.forEach((list, i) => {
      const path = document.createElementNS(svg.namespaceURI, "path");
      path.setAttribute("class", `line-${i % 6}`);
      path.setAttribute("d", list.map((s, n) => (n && s.at - list[n - 1].at <= chartGap ? "L" : "M") +
        ((s.at - from) / (this.last - from) * chartWide).toFixed(1) + " " + (chartHigh - kind.of(s) / top * chartHigh).toFixed(1)).join(""));
      svg.append(path);
    });
    const now = told.filter((list) => list.length).map((list) => round(kind.of(list.at(-1)), kind.digits)).join(", ") + kind.unit;
    svg.setAttribute("aria-label", `${kind.name}: ${now}`);
    return el("figure", {}, el("figcaption", {}, el("span", { textContent: kind.name }), el("b", { textContent: now })), svg,
      el("p", { className: "dim" }, el("span", { textContent: `${span(this.last - from)}` }), el("span", { textContent: `top: ${round(top, kind.digits)}${kind.unit}` })));
  }
}
