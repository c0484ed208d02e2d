// Tables. Each part says its role, because a phone lays rows out as cards, and what is no table there would not be read
// as one. A table that sorts has buttons in its head: up, down, and back to the order in which it came.

function table(kind, caption, heads, rows, sorts = false) {
  const columns = heads.map((head) => html("th", { scope: "col", role: "columnheader" }, head));
  const made = html(
    "table",
    { class: sorts ? `${kind} sorts` : kind, role: "table" },
    html("caption", {}, caption),
    html("thead", { role: "rowgroup" }, html("tr", { role: "row" }, columns)),
    html("tbody", { role: "rowgroup" }, rows),
  );
  for (const row of rows) {
    row.setAttribute("role", "row");
    for (const cell of row.cells) cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
  }
  columns.forEach((head, i) => {
    const isNumbers = rows.some((row) => row.cells[i].dataset.value !== undefined);
    if (isNumbers) for (const cell of [head, ...rows.map((row) => row.cells[i])]) cell.classList.add("numbers");
    if (sorts && rows.length > 1) head.replaceChildren(sortButton(made, i, heads[i], rows));
  });
  return made;
}

const cell = (head, value, ...children) =>
  html("td", { "data-head": head, "data-value": Number.isFinite(value) ? value : null }, ...children);

const sortButton = (made, column, name, rows) =>
  html("button", { type: "button", on: { click: () => sortBy(made, column, rows) } }, name);

// Rows without a value stand last, whichever way it goes.
function sortBy(made, column, rows) {
  const head = made.tHead.rows[0].cells[column];
  const way = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] ?? "ascending";
  for (const each of made.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  if (way === "none") return made.tBodies[0].append(...rows);
  head.setAttribute("aria-sort", way);
  const numbers = head.classList.contains("numbers"),
    sign = way === "ascending" ? 1 : -1;
  const key = (row) => (numbers ? row.cells[column].dataset.value : row.cells[column].textContent);
  const compare = (a, b) => (numbers ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const having = rows.filter((row) => key(row) !== undefined);
  const sorted = having.sort((a, b) => sign * compare(key(a), key(b)));
  made.tBodies[0].append(...sorted, ...rows.filter((row) => key(row) === undefined));
}
