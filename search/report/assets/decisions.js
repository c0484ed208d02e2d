// Bits and gates over the epochs of the search: a small figure a layer, a small figure a gate.

function decisionsSection(run) {
  const { epochs, bits, gates } = run.decisions,
    title = "Decisions over the epochs of the search";
  if (!epochs.length) return document.getElementById("decisions").replaceChildren();
  const layers = Object.values(bits);
  const widths = new Set(
    layers.flatMap(({ widths, counts }) => widths.filter((_, i) => counts.some((each) => each[i] > 0))),
  );
  const span = `epochs ${epochs[0] + 1} to ${epochs.at(-1) + 1}, left to right`;
  section(
    "decisions",
    title,
    html("h3", {}, "Weight bits"),
    html("p", {}, `Share of each layer's output channels at each width, ${span}.`),
    bitLegend(widths),
    html(
      "div",
      { class: "multiples" },
      Object.entries(bits).map(([name, layer]) =>
        multiple(
          name,
          counted(
            layer.counts[0].reduce((a, b) => a + b),
            "channel",
          ),
          figure(`Weight bits of ${name}: ${bitsWords(layer)}`, (width, label) =>
            drawBits(width, label, layer, epochs),
          ),
        ),
      ),
    ),
    Object.keys(gates).length
      ? gateFigures(gates, epochs, span)
      : html("p", {}, "No channels were open: there are no gates."),
  );
}

// Edges on whole pixels, or seams would show.
const pixels = (value) => Math.round(value);

const multiple = (name, note, drawing) =>
  html(
    "figure",
    {},
    html("figcaption", {}, html("span", { class: "name" }, name), html("span", { class: "op" }, note)),
    drawing,
  );

const bitsWords = (layer) =>
  `in the end ${layer.widths
    .map((width, i) => `${layer.counts.at(-1)[i]} ${width ? `at ${counted(width, "bit")}` : "pruned"}`)
    .reverse()
    .join(", ")}`;

function drawBits(width, label, layer, epochs) {
  const height = 62,
    step = width / epochs.length;
  const order = layer.widths.map((_, i) => i).reverse();
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  layer.counts.forEach((counts, n) => {
    const total = counts.reduce((a, b) => a + b) || 1;
    let top = 0;
    for (const i of order) {
      const tall = (counts[i] / total) * height;
      const words = `epoch ${epochs[n] + 1}: ${counts[i]} ${layer.widths[i] ? `at ${counted(layer.widths[i], "bit")}` : "pruned"}`;
      const [x, y] = [pixels(n * step), pixels(top)];
      if (tall)
        plot.append(
          svg(
            "rect",
            {
              class: bitClass(layer.widths[i]),
              x,
              y,
              width: pixels((n + 1) * step) - x,
              height: pixels(top + tall) - y,
            },
            svg("title", {}, words),
          ),
        );
      top += tall;
    }
  });
  return plot;
}

function gateFigures(gates, epochs, span) {
  const each = Object.entries(gates).map(([name, gate]) => ({
    name,
    channels: gate.channels,
    values: Uint8Array.from(atob(gate.bytes), (c) => c.charCodeAt(0)),
  }));
  const key = (name, words, test) =>
    each.some(({ values }) => values.some(test)) ? html("li", {}, html("span", { class: `key ${name}` }), words) : null;
  return [
    html("h3", {}, "Gates"),
    html(
      "p",
      {},
      `A gate keeps a channel while its value is above one half. One row a channel, those that end highest above; ${span}.`,
    ),
    html(
      "ul",
      { class: "legend" },
      key("kept", "1, kept", (v) => v > 170),
      key("half", "one half", (v) => v > 85 && v <= 170),
      key("dropped", "0, dropped", (v) => v <= 85),
    ),
    html(
      "div",
      { class: "multiples" },
      each.map(({ name, channels, values }) => {
        const open = values.slice(-channels).filter((v) => v > 127).length;
        const label = `Gates of ${name}: in the end ${open} of ${channels} channels are kept`;
        return multiple(
          name.replace(/\/channels$/, ""),
          `${open} of ${counted(channels, "channel")} kept`,
          figure(label, (width, words) => drawGates(width, words, values, channels, epochs.length)),
        );
      }),
    ),
  ];
}

function drawGates(width, label, values, channels, epochs) {
  const canvas = html("canvas", {
    width: epochs,
    height: channels,
    role: "img",
    "aria-label": label,
    style: `width:${width}px;height:${Math.min(140, Math.max(48, 3 * channels))}px`,
  });
  const [low, middle, high] = ["--dropped", "--half", "--kept"].map((name) => rgb(style(name)));
  const end = values.slice(-channels),
    order = [...end.keys()].sort((a, b) => end[b] - end[a]);
  const context = canvas.getContext("2d"),
    picture = context.createImageData(epochs, channels);
  order.forEach((channel, row) => {
    for (let n = 0; n < epochs; n++) {
      const value = values[n * channels + channel] / 255,
        far = Math.abs(value - 0.5) * 2,
        to = value < 0.5 ? low : high;
      picture.data.set([...middle.map((m, i) => m + (to[i] - m) * far), 255], 4 * (row * epochs + n));
    }
  });
  context.putImageData(picture, 0, 0);
  return canvas;
}

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
