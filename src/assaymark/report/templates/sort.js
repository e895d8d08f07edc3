"use strict";
// Tables are sorted by a click on a heading: up, down, then the order of the report again. Both parts of a long table
// (the rows shown and the rows folded away) are sorted as one. Without this script every table is complete as it stands.
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const parts = new Map();
  for (const table of document.querySelectorAll("table[data-sort]")) {
    const name = table.dataset.sort;
    if (!parts.has(name)) parts.set(name, []);
    parts.get(name).push(table);
  }

  const compare = (column, numeric) => (a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    if (!numeric) return collator.compare(x.textContent, y.textContent);
    return parseFloat(x.dataset.key) - parseFloat(y.dataset.key);
  };

  for (const tables of parts.values()) {
    const bodies = tables.map((table) => table.tBodies[0]);
    const sizes = bodies.map((body) => body.rows.length);
    const original = bodies.flatMap((body) => Array.from(body.rows));

    const sort = (column, direction) => {
      let rows = original;
      if (direction) {
        const numeric = tables[0].tHead.rows[0].cells[column].classList.contains("numeric");
        const absent = (row) => numeric && !row.cells[column].dataset.key;
        rows = original.filter((row) => !absent(row)).sort(compare(column, numeric));
        if (direction < 0) rows.reverse();
        rows = rows.concat(original.filter(absent));
      }
      let start = 0;
      bodies.forEach((body, index) => {
        body.replaceChildren(...rows.slice(start, start + sizes[index]));
        start += sizes[index];
      });
      const word = direction > 0 ? "ascending" : direction < 0 ? "descending" : "none";
      for (const table of tables) {
        Array.from(table.tHead.rows[0].cells).forEach((heading, index) => {
          heading.setAttribute("aria-sort", index === column ? word : "none");
        });
      }
    };

    if (original.length < 2) continue;
    for (const table of tables) {
      Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...heading.childNodes);
        heading.append(button);
        heading.setAttribute("aria-sort", "none");
        button.addEventListener("click", () => {
          const next = { none: 1, ascending: -1, descending: 0 };
          sort(column, next[heading.getAttribute("aria-sort")]);
        });
      });
    }
  }
})();
