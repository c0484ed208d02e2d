// How far the loss rises with each option of each decision: mean over its groups, and their range.

function sensitivitySection(run) {
  const title = "Sensitivity of the layers";
  if (!run.sensitivity.length)
    return section(
      "sensitivity",
      title,
      html("p", {}, `Not measured: there is no ${run.sensitivityFile} in ${run.folder} that can be read.`),
    );
  const moved = run.sensitivity.map((decision) => ({
    ...decision,
    options: decision.options.filter((each) => each.least || each.most),
  }));
  const decisions = moved.sort((a, b) => worst(b) - worst(a));
  const options = new Map(
    decisions.flatMap((decision) =>
      decision.options.map((each) => [optionName(decision, each.option), optionClass(decision, each.option)]),
    ),
  );
  section(
    "sensitivity",
    title,
    html(
      "p",
      {},
      "Estimated rise of the loss when one group of a decision, mostly a channel, takes an option: mean over the groups, and their range. Options that change nothing are left out; the most sensitive decision stands first.",
    ),
    html(
      "ul",
      { class: "legend" },
      [...options].map(([name, look]) => html("li", {}, html("span", { class: `key round ${look}` }), name)),
    ),
    figure("Rise of the loss by decision and option", (width, label) => drawSensitivity(width, label, decisions)),
  );
}

// "stem/channels" drops channels, "stem/bits" gives them another precision.
const isGate = (decision) => decision.name.endsWith("/channels");
const isBits = (decision) => /bits$/.test(decision.name);
const optionName = (decision, option) =>
  isGate(decision) ? "channel dropped" : isBits(decision) ? `${option} bit` : `option ${option}`;
const optionClass = (decision, option) => (isBits(decision) ? bitClass(option) : isGate(decision) ? "b0" : "other");

const worst = (decision) => Math.max(0, ...decision.options.map((each) => each.mean ?? 0));

function drawSensitivity(width, label, decisions) {
  const wide = width > 620,
    gutter = wide ? 220 : 0,
    row = wide ? 24 : 36,
    height = decisions.length * row + 56;
  const frame = { left: gutter + 6, right: width - 14, top: 8, bottom: height - 42 };
  const values = decisions
    .flatMap((decision) => decision.options.flatMap((each) => [each.least, each.most]))
    .filter((v) => v !== null);
  const domain = extent([0, ...values], 0.03, 1e-9);
  const x = {
    scale: linear(domain, [frame.left, frame.right]),
    ticks: ticks(...domain, (frame.right - frame.left) / 90),
    text: (v) => String(v),
    title: "rise of the loss",
  };
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  fill(plot, {}, [
    axes(frame, x, { scale: (v) => v, ticks: [], text: String }),
    svg("line", { class: "limit", x1: x.scale(0), x2: x.scale(0), y1: frame.top, y2: frame.bottom }),
  ]);
  decisions.forEach((decision, i) => plot.append(sensitivityRow(decision, x, frame.top + i * row + row - 12, wide)));
  return plot;
}

function sensitivityRow(decision, x, middle, wide) {
  const marks = decision.options
    .filter((each) => each.mean !== null)
    .map((each) => {
      const words = `${decision.name}, ${optionName(decision, each.option)}: ${each.mean} (${each.least} to ${each.most})`;
      return svg(
        "g",
        {},
        svg("title", {}, words),
        svg("line", { class: "reach", x1: x.scale(each.least), x2: x.scale(each.most), y1: middle, y2: middle }),
        svg("circle", { class: `dot ${optionClass(decision, each.option)}`, cx: x.scale(each.mean), cy: middle, r: 5 }),
      );
    });
  const words = decision.options.map((each) => `${optionName(decision, each.option)}: ${each.mean}`).join(", ");
  return svg(
    "g",
    { role: "img", "aria-label": `${decision.name}: ${words}` },
    svg("text", { x: 0, y: wide ? middle + 4 : middle - 11 }, shortened(decision.name, wide ? 32 : 50)),
    marks,
  );
}
