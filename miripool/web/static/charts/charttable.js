// The table beside a chart: the same values, for those who can't see the chart or want the numbers.

import { h } from "../dom.js";
import { gridTable } from "../gridtable.js";

const MOST = 2000;

/** Make the table of a chart: a row for each point, or what the chart's `table()` gives: { columns, rows }. */
export function chartTable(spec) {
  const { columns, rows } = spec.table ? spec.table() : pointRows(spec);
  const shown = rows
    .slice(0, MOST)
    .map(({ cells: [first, ...rest], record }) => [
      record !== undefined && spec.onPick ? opener(first, record, spec) : first,
      ...rest,
    ]);
  if (!rows.length) return h("p.empty", {}, "There are no values.");
  return h(
    "div",
    {},
    rows.length > MOST
      ? h("p.faint", {}, `The first ${MOST.toLocaleString("en")} of ${rows.length.toLocaleString("en")} values.`)
      : null,
    gridTable(
      `Table: ${spec.label}`,
      columns.map(({ text, number }) => [text, number]),
      shown,
      { box: "chart-scroll" },
    ),
  );
}

function opener(text, record, spec) {
  return h("button.plain-link", { type: "button", title: spec.pickText ?? null, on: { click: () => spec.onPick(record) } }, text);
}

function pointRows({ columns, series }) {
  const named = series.filter(({ decoration }) => !decoration);
  const several = named.length > 1;
  return {
    columns: several ? [columns[0], { text: "series" }, ...columns.slice(1)] : columns,
    rows: named.flatMap((one) =>
      one.points.map((point) => {
        const cells = columns.map((column) => column.of(point, one));
        if (several) cells.splice(1, 0, one.name);
        return { cells, record: point.record };
      }),
    ),
  };
}
