"use strict";
// Everything here is a help on top of pages that work without it.

// A form that is on its way must not be overtaken by a reload.
let isLeaving = false;

// A run that has ended has more to show than its progress did.
document.addEventListener("ended", async (event) => {
  if (!event.target.closest("[data-reload]")) return;
  try {
    const page = await fetch(location.href, { method: "HEAD" });
    if (page.ok && !isLeaving) location.reload();
  } catch {
    // The dashboard itself has ended: the last view stays.
  }
});

// A stream that is refused will be again: the page itself says why (another dashboard listens here
// now, the session is gone).
document.addEventListener("htmx:sse:error", (event) => {
  const { status } = event.detail;
  if (status >= 400 && status < 500 && !isLeaving) location.reload();
});

// Progress is told to screen readers in one line, and only when that line changes.
const announce = document.getElementById("announce");
document.addEventListener("htmx:sse:after:message", () => {
  const told = document.querySelector("[data-announce]");
  if (announce && told && announce.textContent !== told.dataset.announce) {
    announce.textContent = told.dataset.announce;
  }
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
  isLeaving = !event.defaultPrevented;
});

// Charts are drawn from the tables beside them.
function draw(place) {
  const rows = [...document.querySelectorAll(`#${place.dataset.chart} [data-x]`)];
  const days = rows.map((row) => Date.parse(`${row.dataset.x}T00:00:00Z`) / 1000);
  const values = rows.map((row) => Number(row.dataset.y));
  const style = getComputedStyle(document.documentElement);
  const color = (name) => {
    const probe = document.createElement("i");
    probe.className = `ink-${name}`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const unit = place.dataset.unit;
  const label = (value) => (unit === "$" ? `$${value.toLocaleString("en")}` : `${value} %`);
  const axis = {
    stroke: color("soft"),
    grid: { stroke: color("line"), width: 1 },
    ticks: { show: false },
    font: `12px ${style.fontFamily}`,
  };
  const size = () => ({ width: place.clientWidth - 24, height: 220 });
  const chart = new uPlot(
    {
      ...size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      legend: { show: false },
      cursor: { points: { size: 7 }, drag: { x: false, y: false } },
      scales: {
        x: { range: (_chart, first, last) => [first - 43200, last + 43200] },
        y: { range: (_chart, _low, high) => [0, unit === "%" ? 100 : high * 1.1 || 1] },
      },
      axes: [
        {
          ...axis,
          size: 32,
          incrs: [1, 2, 7, 14, 30, 90, 365].map((count) => count * 86400),
          values: (_chart, marks) =>
            marks.map((mark) => new Date(mark * 1000).toISOString().slice(5, 10)),
        },
        { ...axis, size: 72, values: (_chart, marks) => marks.map(label) },
      ],
      series: [
        {},
        {
          stroke: color("accent"),
          fill: color("accent-tint"),
          width: 2,
          paths: uPlot.paths.bars({ size: [0.7, 36] }),
          points: { show: false },
        },
      ],
    },
    [days, values],
    place,
  );
  new ResizeObserver(() => chart.setSize(size())).observe(place);
}
for (const place of document.querySelectorAll("[data-chart]")) draw(place);

document.getElementById("quote")?.focus();
