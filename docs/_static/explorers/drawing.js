"use strict";
// The picture of a graph in the colours of foundations/draw/graphs.py: laid out once, drawn anew for each step.
const drawing = (() => {
  const {brief} = reading;
  const WIDE = 144, HIGH = 96, BETWEEN = 44, PASSING = 14, BLUE = "#31688e", RED = "#b2182b";
  const mean = numbers => numbers.reduce((a, b) => a + b, 0) / numbers.length;

  // Columns of boxes, and of passing places for long arrows; each arrow with all that it goes through.
  function lay(tensors) {
    const boxes = new Map(tensors.map(t => [t, {t, high: HIGH + 16, near: [], y: 0}])), column = new Map(), paths = [];
    for (const t of tensors) column.set(t, 1 + Math.max(-1, ...t.args.map(a => column.get(a))));
    for (const leaf of tensors.filter(t => !t.args.length))
      column.set(leaf, Math.min(...tensors.filter(t => t.args.includes(leaf)).map(t => column.get(t))) - 1);
    const columns = Array.from({length: 1 + Math.max(...column.values())}, () => []);
    for (const [t, box] of boxes) columns[column.get(t)].push(box);
    for (const t of tensors) for (const a of t.args) {
      const passing = columns.slice(column.get(a) + 1, column.get(t)).map(boxes => {
        boxes.push({high: PASSING, near: [], y: 0});
        return boxes.at(-1);
      });
      const path = [boxes.get(a), ...passing, boxes.get(t)];
      path.slice(1).forEach((there, i) => { path[i].near.push(there); there.near.push(path[i]); });
      paths.push(path);
    }
    for (let sweep = 0; sweep < 16; sweep++) for (const boxes of sweep % 2 ? columns : [...columns].reverse()) {
      for (const box of boxes) box.aim = Math.round(mean(box.near.map(other => other.y)));
      boxes.sort((a, b) => a.aim - b.aim);
      let down = mean(boxes.map(box => box.aim)) - boxes.reduce((sum, box) => sum + box.high, 0) / 2;
      for (const box of boxes) { box.y = down + box.high / 2; down += box.high; }
    }
    const all = columns.flat(), top = Math.min(...all.map(box => box.y - box.high / 2));
    columns.forEach((boxes, i) => { for (const box of boxes) Object.assign(box, {x: 10 + i * (WIDE + BETWEEN), y: box.y - top}); });
    return {boxes: [...boxes.values()], paths, high: Math.max(...all.map(box => box.y + box.high / 2))};
  }

  function arrow(path, paths) {
    const touch = (box, end, next) => {                // where it touches a box that others touch as well
      const here = paths.filter(p => p.at(end) == box).sort((p, q) => p.at(next).y - q.at(next).y);
      return box.y + 14 * (here.indexOf(path) - (here.length - 1) / 2);
    };
    const ys = [touch(path[0], 0, 1), ...path.slice(1, -1).map(box => box.y), touch(path.at(-1), -1, -2)];
    let line = `M${path[0].x + WIDE} ${ys[0]}`;
    path.slice(1).forEach(({x}, i) => { line += `H${x - BETWEEN}C${x - 18} ${ys[i]} ${x - 26} ${ys[i + 1]} ${x - 8} ${ys[i + 1]}`; });
    return `<path d="${line}" fill="none" stroke="#555" stroke-width="1.6"/><path d="M${path.at(-1).x} ${ys.at(-1)}l-10 -4.5v9z" fill="#555"/>`;
  }

  function paint({t, x, y}, lit) {
    const top = y - HIGH / 2, known = t.gradient !== undefined, result = t.args.length > 0;
    const [face, edge] = lit ? ["#fde725", "#000"] : !t.there ? ["#fff", "#888"] : result ? ["#fdf3c0", "#888"]
      : t.needs ? ["#dbe7f0", BLUE] : ["#eee", "#888"];
    const text = (words, dx, dy, ink = "#000", size = 12.5) => `<text x="${x + dx}" y="${top + dy}" fill="${ink}" font-size="${size}">${words}</text>`;
    const middle = WIDE / 2, left = t.needs ? 38 : middle, right = WIDE - 42, heads = result && t.name != t.operator ? [t.name, t.operator] : ["", t.name];
    return `<rect x="${x}" y="${top}" width="${WIDE}" height="${HIGH}" rx="${result ? 10 : 0}" fill="${face}" stroke="${edge}" `
      + `stroke-width="${lit ? 2.6 : 1.6}" stroke-dasharray="${t.there ? "none" : "6 3"}"/>`
      + text(heads[0], middle, 18, "#000", 14) + text(heads[1], middle, heads[0] ? 35 : 26, "#000", 14)
      + (t.there ? text("()", left, 54) + text(brief(t.value), left, 70) : "")
      + (known ? text("grad", right, 54, RED) + text(brief(t.gradient), right, 70, RED) : "")
      + (known && t.waiting ? text(`waits for ${t.waiting} more`, middle, 88) : "");
  }

  // The graph for those who listen.
  function words(tensors) {
    const called = t => t.name == "a leaf" ? "a tensor" : t.name;
    return `A graph of ${tensors.length} tensors. ` + tensors.map(t => {
      const made = t.args.length ? `${t.name == t.operator ? "a tensor" : t.name} = ${t.operator} of ${t.args.map(called).join(" and ")}` : called(t);
      return `${made}, ()${t.there ? ` ${brief(t.value)}` : " to come"}${t.gradient === undefined ? "" : `, gradient ${brief(t.gradient)}`}`;
    }).join("; ") + ".";
  }

  // What draws the graph of these tensors as it stands: under what was said, one of them lit.
  function of(tensors) {
    const {boxes, paths, high} = lay(tensors), wide = Math.max(...boxes.map(box => box.x)) + WIDE + 10;
    const arrows = paths.map(path => arrow(path, paths)).join("");
    return (said, lit) => `<svg role="img" aria-label="${said} ${words(tensors)}" viewBox="0 0 ${wide} ${high}" width="${wide}" `
      + `font-family="monospace" text-anchor="middle" style="max-width:max(100%, ${Math.min(wide, 900)}px);height:auto;background:white;border-radius:6px">`
      + `${arrows}${boxes.map(box => paint(box, box.t == lit)).join("")}</svg>`;
  }

  return {of};
})();
