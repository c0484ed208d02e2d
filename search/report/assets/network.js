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
      { class: "which" },
      swatch(rivalOf(run)),
      html("strong", {}, pointName(point)),
      ", architecture ",
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
    ["decided", "Decided network"],
    ["integer", "Exported integers"],
  ].filter(([kind]) => point.scores[kind]);
  const rows = kinds.map(([kind, name]) =>
    html(
      "tr",
      { class: kind === "integer" ? "strong" : "" },
      html("th", { scope: "row" }, name),
      cell("Validation", point.scores[kind].val, scored(point.scores[kind].val)),
      cell("Test", point.scores[kind].test, scored(point.scores[kind].test)),
    ),
  );
  return table("plain", capital(METRIC.name), ["Network", "Validation", "Test"], rows);
}

function costTable(point) {
  const rows = Object.entries(point.costs).map(([name, value]) => {
    const limit = point.budgets[name];
    const part = value.seed_network ? percent(value.found / value.seed_network, 1) : "–";
    return html(
      "tr",
      {},
      html("th", { scope: "row" }, capital(costName(name))),
      cell("Found", value.found, exact(value.found, value.unit)),
      cell("Budget", limit, limit === undefined ? "–" : exact(limit, value.unit)),
      cell("Used", NaN, limit === undefined ? left(point, name) : gauge(point, name)),
      cell("Of seed network", value.found, part),
    );
  });
  const heads = ["Cost", "Found", "Budget", "Used", "Of seed network"];
  const caption = [
    html("strong", {}, "Costs and budgets."),
    " The seed network is the one that the search began with.",
  ];
  return table("rows budgets", html("span", {}, ...caption), heads, rows);
}

function gauge(point, name) {
  const { limit, met } = point.promises[name],
    used = limit ? (100 * point.costs[name].found) / limit : 0;
  const bar = html("span", { style: `width:${Math.min(100, used)}%` });
  return html(
    "span",
    { class: `gauge${met ? "" : " over"}` },
    html("span", { class: "track", "aria-hidden": "true" }, bar),
    met ? html("span", { class: "good" }, "met, ", left(point, name), " left") : left(point, name),
  );
}

function remarks(point) {
  const { elements_compared: compared, tensors_compared: tensors, ...backends } = point.mismatches;
  const wrong = Object.entries(backends).filter(([, count]) => count);
  const differ = wrong.map(([name, count]) => `${count.toLocaleString("en")} of ${name} differ: a defect`).join(", ");
  const { pattern, zeros, weights } = point.pattern;
  const stages = Object.entries(point.stages).map(([name, value]) => `${name} ${scored(value)}`);
  const against = Object.entries(point.belowFloat).map(
    ([split, value]) =>
      `${SPLITS[split] ?? split} ${value ? `${difference(Math.abs(value))} ${value < 0 ? "above" : "below"}` : "the same"}`,
  );
  const files = Object.entries(point.files).map(([name, bytes]) => `${name} ${quantity(bytes, "B")}`);
  const facts = [
    ...Object.entries(point.details.facts).map(([name, said]) => [capital(name), said]),
    ["Against the float network", against.join(", ")],
    ["On the way, on validation data", stages.join(", ")],
    [
      `${Object.keys(backends).join(", ")} against training`,
      compared
        ? `${counted(compared, "element")} of ${counted(tensors, "tensor")} compared; ${differ || "all are equal"}`
        : "",
    ],
    [
      `Pattern ${pattern}`,
      pattern ? `${counted(zeros, "zero")} in ${counted(weights, "weight")}; no cost falls by them` : "",
    ],
    ["Files", files.join(", ")],
  ].filter(([, said]) => said);
  return [
    facts.length ? html("dl", { class: "facts remarks" }, factItems(facts)) : null,
    point.exported
      ? null
      : html(
          "p",
          { class: "remark" },
          "Measured on validation data and not exported: its decisions only. A layer that shares another's channels is listed with all of its own.",
        ),
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
  const grey = point.layers.some((layer) => layer.kept && !Object.keys(layer.bits).length)
    ? html("li", {}, html("span", { class: "key unweighted" }), "layer without weights")
    : null;
  const heads = ["Layer", "Channels kept, by weight bits", ...columns.map(([, head]) => head)];
  const rows = point.layers.map((layer) => layerRow(layer, columns, most, widest));
  return html(
    "div",
    {},
    html("h3", {}, "Layer by layer"),
    bitLegend(widths, grey),
    table("layers", layerCaption(point), heads, rows, true),
  );
}

// What the task says of the network beside the metric: a table that it has worded.
function detailsTable(point) {
  const { title, head, is_text: isText, rows, caption } = point.details;
  if (!rows.length) return null;
  const value = (text, i) => (isText[i] ? NaN : Number.parseFloat(text.replaceAll(",", "")));
  return html(
    "div",
    {},
    html("h3", {}, capital(title)),
    table(
      "rows details",
      caption,
      head.map(capital),
      rows.map(([name, ...cells]) =>
        html(
          "tr",
          {},
          html("th", { scope: "row" }, name),
          cells.map((text, i) => cell(capital(head[i + 1]), value(text, i + 1), text)),
        ),
      ),
      true,
    ),
  );
}

function layerCaption(point) {
  const peak = point.layers.find((layer) => layer.peak);
  return [
    "Layers stand in the order in which they run; press a column's name to sort by it.",
    "Bars of channels are as long as the square root of their number, those of costs to one scale a column.",
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
      { "data-head": head, "data-value": value, class: `cost${peak ? " peak" : ""}` },
      html("span", { class: "number" }, value ? quantity(value, unit) : "0", peak ? html("em", {}, " peak") : null),
      html("span", { class: "bar", "aria-hidden": "true", style: `width:${(100 * value) / most[name]}%` }),
    );
  });
  return html(
    "tr",
    {},
    html(
      "th",
      { scope: "row" },
      html("span", { class: "name" }, layer.name),
      html("span", { class: "op" }, layer.op.replaceAll("_", " ")),
    ),
    html(
      "td",
      { class: "channels", "data-head": "Channels", "data-value": layer.kept },
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
      title:
        width === "none"
          ? counted(count, "channel")
          : width
            ? `${counted(count, "channel")} at ${counted(width, "bit")}`
            : `${count} pruned`,
    }),
  );
  return html(
    "span",
    { class: "segments", "aria-hidden": "true", style: `width:${100 * Math.sqrt(total / widest)}%` },
    segments,
  );
}
