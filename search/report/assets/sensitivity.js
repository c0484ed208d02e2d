// How far the loss rises with each option of each decision: mean over its groups, and their range.

function sensitivitySection(run) {
  if (!run.sensitivity.length) return document.getElementById("sensitivity").replaceChildren();
  const title = "Sensitivity of the layers";
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

// "stem/channels" drops channels, "stem/bits" gives them another precision; of "stem/channels@2" the role is the same.
const ROLES = {
  channels: "channels",
  bits: "weight bits",
  activation_bits: "bits of the output",
  kernel: "kernel size",
  time: "receptive field",
};
const roleOf = (decision) => decision.name.split("/").at(-1).split("@")[0];
const decisionName = (decision) => {
  const layer = decision.name.slice(0, decision.name.lastIndexOf("/"));
  return layer ? `${layer}: ${ROLES[roleOf(decision)] ?? roleOf(decision)}` : decision.name;
};
const isGate = (decision) => roleOf(decision) === "channels";
const isBits = (decision) => /bits$/.test(roleOf(decision));
const optionName = (decision, option) =>
  isGate(decision) ? "channel dropped" : isBits(decision) ? counted(option, "bit") : `option ${option}`;
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
  const x = sensitivityAxis(values, [frame.left, frame.right]);
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  fill(plot, {}, [
    axes(frame, x, { scale: (v) => v, ticks: [], text: String }),
    svg("line", { class: "limit", x1: x.scale(0), x2: x.scale(0), y1: frame.top, y2: frame.bottom }),
  ]);
  decisions.forEach((decision, i) => plot.append(sensitivityRow(decision, x, frame.top + i * row + row - 12, wide)));
  return plot;
}

// Most rises are a hundredth of the highest, so the scale is that of their square roots.
function sensitivityAxis(values, range) {
  const root = (v) => Math.sign(v) * Math.sqrt(Math.abs(v));
  const place = linear(extent([0, ...values.map(root)], 0.02, 1e-5), range);
  const scale = (v) => place(root(v));
  const powers = Array.from({ length: 16 }, (_, i) => 10 ** (6 - i));
  const round = powers.flatMap((power) => [5, 2, 1].map((factor) => Number((factor * power).toPrecision(1))));
  const shown = [0];
  for (const tick of round.flatMap((each) => [each, -each])) {
    const inside = scale(tick) >= range[0] && scale(tick) <= range[1];
    if (inside && shown.every((other) => Math.abs(scale(other) - scale(tick)) > 60)) shown.push(tick);
  }
  return { scale, ticks: shown, text: String, title: "rise of the loss, square-root scale" };
}

function sensitivityRow(decision, x, middle, wide) {
  const marks = decision.options
    .filter((each) => each.mean !== null)
    .map((each) => {
      const words = `${decisionName(decision)}, ${optionName(decision, each.option)}: ${each.mean} (${each.least} to ${each.most})`;
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
    { role: "img", "aria-label": `${decisionName(decision)}: ${words}` },
    svg("text", { x: 0, y: wide ? middle + 4 : middle - 11 }, shortened(decisionName(decision), wide ? 34 : 50)),
    marks,
  );
}
