// The document, and how its numbers and names are written.

const DATA = JSON.parse(document.getElementById("document").textContent);
const { runs: RUNS, points: POINTS, units: UNITS, rivals: RIVALS, metric: METRIC } = DATA;

const COST_NAMES = {
  flash_bytes: "Flash",
  peak_ram_bytes: "Peak RAM",
  macs: "Multiply-adds",
  parameters: "Parameters",
  bops: "Bit operations",
  energy_pj: "Energy",
  latency_cycles: "Latency",
};
const costName = (name) => COST_NAMES[name] ?? name;
const PICO = ["pJ", "nJ", "µJ", "mJ"];

// 31949, "B" -> "31.2 kB", a kB of 1024 B; 70357, "MAC" -> "70.4 kMAC"; 80196, "pJ" -> "80.2 nJ".
function quantity(value, unit) {
  if (value === null || value === undefined) return "–";
  const base = unit === "B" ? 1024 : 1000;
  let power = 0;
  while (power < 3 && Math.abs(value) >= base ** (power + 1)) power++;
  const size = value / base ** power;
  const digits = power && size < 100 ? 1 : Number.isInteger(size) || size >= 100 ? 0 : 2;
  const number = size.toLocaleString("en", { maximumFractionDigits: digits });
  const named = unit === "pJ" ? PICO[power] : ["", "k", "M", "G"][power] + unit;
  return `${number}\u00a0${named}`;
}

const exact = (value, unit) => `${value.toLocaleString("en", { maximumFractionDigits: 2 })}\u00a0${unit}`;
const percent = (share, digits = 2) =>
  share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}%`;
// A value of the metric: 0.8715 -> "87.15%"; without the unit for an axis, whose title has it.
const scored = (value) =>
  value === null || value === undefined ? "–" : `${(METRIC.factor * value).toFixed(METRIC.digits)}${METRIC.unit}`;
// A difference of two values of the metric, as it is written elsewhere: of percentages "2.15 points".
const difference = (value) =>
  `${(METRIC.factor * value).toFixed(METRIC.digits)}${METRIC.unit === "%" ? " points" : METRIC.unit}`;
const scoredTick = (value) => `${Number((METRIC.factor * value).toFixed(METRIC.digits))}`;
const metricTitle = (what) => [`${capital(METRIC.name)}${what}`, METRIC.unit].filter(Boolean).join(", ");
// An axis of the metric: no lower than 0 without need, and hardly higher than the metric can be.
const within = (values, low, high) => [
  Math.max(Math.min(0, ...values), low),
  Math.min(1.002 * (METRIC.highest ?? Infinity), high),
];
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const counted = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

function duration(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

const integers = (point, split) => point.scores.integer?.[split] ?? null;
const isTested = (point) => integers(point, "test") !== null;
// What a point is drawn at: the metric of the integers on test data, and where there is none on validation data.
const shown = (point) => (isTested(point) ? integers(point, "test") : integers(point, "val"));
const splitName = (point) => (isTested(point) ? "test" : "validation");
const rivalOf = (run) => RIVALS.indexOf(run.rival);

const limits = (budgets) =>
  Object.entries(budgets).map(([name, limit]) => `${costName(name)} ${quantity(limit, UNITS[name] ?? "")}`);
const lambdaText = (lambdas) => Object.entries(lambdas).map(([name, value]) => `λ of ${costName(name)} ${value}`);
const budgetText = (budgets) => limits(budgets).join(", ") || "no budget";

// Of a front the knee too: where less cost begins to take more of the metric.
function pointName(point) {
  const run = RUNS[point.run];
  const lambdas = lambdaText(point.lambdas);
  const promises = Object.keys(point.budgets).length || !lambdas.length ? [budgetText(point.budgets)] : [];
  return [run.rival, `seed ${point.seed}`, ...promises, ...lambdas, point.knee ? "knee of its front" : null]
    .filter(Boolean)
    .join(" · ");
}

// Of several networks in one run, how many.
function runName(run) {
  const own = POINTS.filter((point) => RUNS[point.run] === run && point.exported);
  const promise = own.length > 1 ? `front of ${own.length}` : budgetText(own[0]?.budgets ?? run.budgets);
  return [run.rival, `seed ${run.seed}`, promise, run.finished ? null : "unfinished", run.folder]
    .filter(Boolean)
    .join(" · ");
}

const bitsText = (bits) =>
  Object.keys(bits)
    .map(Number)
    .sort((a, b) => b - a)
    .map((width) => `${width}:${bits[width]}`)
    .join(" ");
const bitClass = (width) => `b${[1, 2, 3, 4, 5, 6, 7, 8].includes(Number(width)) ? width : Number(width) > 8 ? 16 : 0}`;

// A legend of weight bits, the most first; 0 are the pruned.
const bitLegend = (widths) =>
  html(
    "ul",
    { class: "legend" },
    [...widths]
      .sort((a, b) => b - a)
      .map((width) =>
        html("li", {}, html("span", { class: `key ${bitClass(width)}` }), width ? `${width} bit` : "pruned"),
      ),
  );
