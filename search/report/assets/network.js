// The selected network: what it reaches, what it costs against its budgets, and its layers.

const LAYER_COSTS = [
  ["flash_bytes", "Flash", "B"],
  ["macs", "Multiply-adds", "MAC"],
  ["energy_pj", "Energy", "pJ"],
  ["peak_ram_bytes", "RAM in use", "B"],
];

function networkSection() {
  if (selected === null) return document.getElementById("network").replaceChildren();
  const point = POINTS[selected],
    run = RUNS[point.run];
  section(
    "network",
    "The network found",
    html(
      "p",
      { class: "which", "aria-live": "polite" },
      swatch(rivalOf(run)),
      html("strong", {}, pointName(point)),
      " architecture ",
      html("code", {}, point.architecture || "unknown"),
    ),
    html("div", { class: "pair" }, costTable(point), scoreTable(point)),
    remarks(point),
    layerTable(point),
    detailsTable(point),
  );
}

function scoreTable(point) {
  const kinds = [
    ["float", "Float network"],
    ["decided", "Decided, before integers"],
    ["integer", "Integers, as exported"],
  ].filter(([kind]) => point.scores[kind]);
  const rows = kinds.map(([kind, name]) =>
    html(
      "tr",
      { class: kind === "integer" ? "strong" : "" },
      html("th", { scope: "row" }, name),
      html("td", {}, scored(point.scores[kind].val)),
      html("td", {}, scored(point.scores[kind].test)),
    ),
  );
  return table("plain", capital(METRIC.name), ["", "validation", "test"], rows);
}

function costTable(point) {
  const rows = Object.entries(point.costs).map(([name, value]) => {
    const limit = point.budgets[name];
    const verdict = limit === undefined ? html("span", { class: "quiet" }, "no budget") : gauge(value.found, limit);
    const part = value.seed_network ? percent(value.found / value.seed_network, 1) : "–";
    return html(
      "tr",
      {},
      html("th", { scope: "row" }, costName(name)),
      html("td", {}, exact(value.found, value.unit)),
      html("td", {}, limit === undefined ? "–" : exact(limit, value.unit)),
      html("td", { class: "wide" }, verdict),
      html("td", {}, part),
    );
  });
  const heads = ["Cost", "found", "budget", "used", "of seed network"];
  return table("plain budgets", "Costs and budgets", heads, rows);
}

function gauge(found, limit) {
  const over = found > limit;
  return html(
    "span",
    { class: `gauge${over ? " over" : ""}` },
    html("span", { class: "track" }, html("span", { style: `width:${Math.min(100, (100 * found) / limit)}%` })),
    `${percent(found / limit, 1)} ${over ? "OVER" : "met"}`,
  );
}

function remarks(point) {
  const { numpy, elements_compared: compared, tensors_compared: tensors } = point.mismatches;
  const lines = [
    compared
      ? `Of ${counted(compared, "element")} in ${counted(tensors, "tensor")} the NumPy executor computes ${numpy ? `${numpy.toLocaleString("en")} otherwise than training: a defect.` : "every one as training does."}`
      : null,
    ...onTheWay(point),
    ...Object.entries(point.details.facts).map(([name, said]) => `${capital(name)}: ${said}.`),
    point.pattern.pattern
      ? `Pattern ${point.pattern.pattern}: ${counted(point.pattern.zeros, "zero")} in ${counted(point.pattern.weights, "weight")}; no cost falls by them.`
      : null,
    point.exported
      ? null
      : "Measured on validation data and not exported: its decisions only. A layer that shares another's channels is listed with all of its own.",
  ];
  return lines.filter(Boolean).map((line) => html("p", { class: "remark" }, line));
}

// The metric at every stage of the run, and how far the integers are below the float network.
function onTheWay(point) {
  const stages = Object.entries(point.stages).map(([name, value]) => `${name} ${scored(value)}`);
  const below = Object.entries(point.belowFloat).map(([split, value]) => `${split} ${difference(value)}`);
  return [
    below.length ? `Below the float network: ${below.join(", ")}.` : null,
    stages.length ? `On the way, on validation data: ${stages.join(", ")}.` : null,
  ];
}

function layerTable(point) {
  if (!point.layers.length)
    return html("p", {}, "Its layers cannot be told: there is neither a model nor an architecture that can be read.");
  const columns = LAYER_COSTS.filter(([name]) => point.layers.some((layer) => name in layer.costs));
  const most = Object.fromEntries(
    columns.map(([name]) => [name, Math.max(1, ...point.layers.map((layer) => layer.costs[name] ?? 0))]),
  );
  const widest = Math.max(...point.layers.map((layer) => Math.max(layer.kept, layer.channels ?? 0)));
  const widths = new Set(point.layers.flatMap((layer) => Object.keys(layer.bits).map(Number)));
  if (point.layers.some((layer) => layer.channels > layer.kept)) widths.add(0);
  const heads = ["Layer", "Channels kept, by weight bits", ...columns.map(([, head]) => head)];
  const rows = point.layers.map((layer) => layerRow(layer, columns, most, widest));
  return html(
    "div",
    {},
    html("h3", {}, "Layer by layer"),
    bitLegend(widths),
    table("layers", layerCaption(point), heads, rows),
  );
}

// What the task says of the network beside the metric: a table that it has worded.
function detailsTable(point) {
  const { title, head, rows, caption } = point.details;
  if (!rows.length) return null;
  return html(
    "div",
    {},
    html("h3", {}, capital(title)),
    table(
      "rows details",
      caption,
      head,
      rows.map(([name, ...cells]) =>
        html(
          "tr",
          {},
          html("th", { scope: "row" }, name),
          cells.map((text, i) => html("td", { "data-head": head[i + 1] }, text)),
        ),
      ),
    ),
  );
}

function layerCaption(point) {
  const peak = point.layers.find((layer) => layer.peak);
  const unweighted = point.layers.some((layer) => layer.kept && !Object.keys(layer.bits).length);
  return [
    "8:13 is 13 channels with 8 bits.",
    "Bars of channels are as long as the square root of their number, those of costs to one scale a column.",
    unweighted ? "Grey channels belong to layers without weights." : "",
    peak ? `RAM peaks at ${peak.name}, with ${exact(peak.costs.peak_ram_bytes, "B")} of activations alive.` : "",
  ]
    .filter(Boolean)
    .join(" ");
}

function layerRow(layer, columns, most, widest) {
  const kept = layer.channels === null ? `${layer.kept}` : `${layer.kept} of ${layer.channels}`;
  const cells = columns.map(([name, head, unit]) => {
    const value = layer.costs[name],
      peak = name === "peak_ram_bytes" && layer.peak;
    if (value === undefined) return html("td", { "data-head": head, class: "cost" }, "–");
    return html(
      "td",
      { "data-head": head, class: `cost${peak ? " peak" : ""}` },
      html("span", { class: "bar", style: `width:${(100 * value) / most[name]}%` }),
      html("span", { class: "number" }, value ? quantity(value, unit) : "0", peak ? html("em", {}, " peak") : null),
    );
  });
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, html("span", { class: "name" }, layer.name), html("span", { class: "op" }, layer.op)),
    html(
      "td",
      { class: "channels", "data-head": "Channels" },
      channelBar(layer, widest),
      html("span", { class: "number" }, kept, html("span", { class: "op" }, ` ${bitsText(layer.bits)}`)),
    ),
    cells,
  );
}

function channelBar(layer, widest) {
  const parts = Object.entries(layer.bits)
    .map(([width, count]) => [Number(width), count])
    .sort((a, b) => b[0] - a[0]);
  const weighted = parts.reduce((sum, [, count]) => sum + count, 0);
  if (layer.kept > weighted) parts.push(["none", layer.kept - weighted]);
  if (layer.channels > layer.kept) parts.push([0, layer.channels - layer.kept]);
  const total = Math.max(layer.kept, layer.channels ?? 0);
  const segments = parts.map(([width, count]) =>
    html("span", {
      class: width === "none" ? "unweighted" : bitClass(width),
      style: `flex-grow:${count}`,
      title: width === "none" ? `${count} channels` : width ? `${count} channels at ${width} bits` : `${count} pruned`,
    }),
  );
  return html(
    "span",
    { class: "segments", "aria-hidden": "true", style: `width:${100 * Math.sqrt(total / widest)}%` },
    segments,
  );
}
