// The document, and how its numbers and names are written.

const DATA = JSON.parse(document.getElementById("document").textContent);
const { runs: RUNS, points: POINTS, units: UNITS, rivals: RIVALS, metric: METRIC } = DATA;

const costName = (name) => DATA.costNames[name] ?? name;
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

// 103469.58, "pJ" -> "103,470 pJ": all digits, and decimals of small figures alone.
const exact = (value, unit) =>
  `${value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 1000 ? 2 : 0 })}\u00a0${unit}`;
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
const splitName = (point) => SPLITS[isTested(point) ? "test" : "val"];
const SPLITS = { test: "test", val: "validation", train: "training" };
const rivalOf = (run) => RIVALS.indexOf(run.rival);

const COST_ORDER = Object.keys(UNITS);
const limits = (budgets) =>
  Object.entries(budgets)
    .sort(([a], [b]) => COST_ORDER.indexOf(a) - COST_ORDER.indexOf(b))
    .map(([name, limit]) => `${costName(name)} ${exact(limit, UNITS[name] ?? "")}`);
const lambdaText = (lambdas) => Object.entries(lambdas).map(([name, value]) => `lambda of ${costName(name)} ${value}`);
const budgetText = (budgets) => limits(budgets).join(", ") || "no budget";

const PHASES = { warmup: "warm-up", finetune: "fine-tuning", rest: "everything else" };
// "finetune 2" -> "fine-tuning 2".
const phaseName = (phase) => phase.replace(/^[a-z]+/, (word) => PHASES[word] ?? word);

// Of a front the knee too: where less cost begins to take more of the metric.
function pointName(point) {
  const run = RUNS[point.run];
  const lambdas = lambdaText(point.lambdas);
  const promises = Object.keys(point.budgets).length || !lambdas.length ? [budgetText(point.budgets)] : [];
  return [run.rival, `seed ${point.seed}`, ...promises, ...lambdas, point.knee ? "knee" : null]
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

// {8: 13, 2: 3} -> "13 at 8 bits, 3 at 2 bits".
const bitsText = (bits) =>
  Object.keys(bits)
    .map(Number)
    .sort((a, b) => b - a)
    .map((width) => `${bits[width]} at ${counted(width, "bit")}`)
    .join(", ");
const bitClass = (width) => `b${[1, 2, 3, 4, 5, 6, 7, 8].includes(Number(width)) ? width : Number(width) > 8 ? 16 : 0}`;

// A legend of weight bits, the most first; 0 are the pruned.
const bitLegend = (widths, ...others) =>
  html(
    "ul",
    { class: "legend" },
    [...widths]
      .sort((a, b) => b - a)
      .map((width) =>
        html("li", {}, html("span", { class: `key ${bitClass(width)}` }), width ? counted(width, "bit") : "pruned"),
      ),
    others,
  );
