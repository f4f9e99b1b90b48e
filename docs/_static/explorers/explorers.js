"use strict";
// The boxes of foundations/explore in a page without a kernel: fields above what was stored, and on Enter what Python would show.
// What is put into a page is made of numbers and names that `reading` let through; a refusal is put there as text.
const explorers = (() => {
  const {Refusal, refuse, literal, isNumber, matrix, wholeNumbers, shape, tuple, written} = reading;

  // ---- the markup of foundations/explore/steppers.py ----
  function table(name, cells, lit = () => "") {
    const cell = (value, look) => {
      let text = typeof value == "string" ? value : written(value);
      if (["now", "sum", "no"].includes(look)) text = `<b>${text}</b>`;
      return `<td${look && ` class="${look}"`}>${text || "&nbsp;"}</td>`;
    };
    const rows = cells.map((row, r) => `<tr>${row.map((value, c) => cell(value, lit(r, c))).join("")}</tr>`);
    return `<div><b>${name}</b><table class="cells">${rows.join("")}</table></div>`;
  }

  const tables = (...several) => `<div class="tables wide">${several.join("")}</div>`;

  function asked({text, answer, choices}) {
    const field = kind => `<input type="${kind}" class="guess" data-want='${JSON.stringify(answer)}' autocomplete="off">`;
    const verdict = '<span class="verdict" role="status"></span>';
    if (!choices) return `<label>Before you go on: ${text} ${field("text")}</label><button type="button" class="check">check</button>${verdict}`;
    const buttons = choices.map(word => `<button type="button" value="${word}">${word}</button>`);
    return `<span>Before you go on: ${text}</span>${field("hidden")}${buttons.join("")}${verdict}`;
  }

  function frame(shown, i, {frames, questions}) {
    const told = questions[i], asks = questions[i + 1];
    const summary = `Step ${i + 1} of ${frames.length}${told ? `: ${told.text}` : ""}`;
    const answer = told ? `<p>Answer: <b>${told.told}</b> <span class="told"></span></p>` : "";
    const next = asks ? `<div class="live asked" hidden="hidden">${asked(asks)}</div>` : "";
    return `<details class="frame"${i ? "" : " open"}><summary>${summary}</summary>${answer}${shown}${next}</details>`;
  }

  // ---- two shapes, axis by axis: foundations/explore/axes.py ----
  const VERDICTS = ["equal", "a is stretched", "b is stretched", "refused"];

  function meet(m, n) {                                // the size that two sizes make, null for no axis; the verdict; why
    const size = [m, n].find(s => s !== 1 && s !== null) ?? 1;
    if (m === null || n === null) {
      const name = m === null ? "a" : "b", lacks = `${name} has no such axis: it counts as 1`;
      if (size == 1) return [size, "equal", `${lacks}: <b>equal</b>`];
      return [size, `${name} is stretched`, `${lacks}, and is <b>stretched</b> to ${size}`];
    }
    if (m == n) return [size, "equal", `${m} and ${n}: <b>equal</b>`];
    const verdict = m == 1 ? "a is stretched" : "b is stretched";
    if (m == 1 || n == 1) return [size, verdict, `${m} and ${n}: <b>${verdict}</b> to ${size}`];
    return ["no", "refused", `${m} and ${n}: <b>refused</b>. They differ, and neither is 1`];
  }

  function typed_shapes(texts) {
    const shapes = [shape(texts.a), shape(texts.b)], ndim = Math.max(shapes[0].length, shapes[1].length);
    const sizes = shapes.map(s => [...Array(ndim - s.length).fill(null), ...s]), head = ["", ...sizes[0].map((_, i) => `axis ${i - ndim}`)];
    const frames = [], questions = {}, out = [];
    const show = (text, found, axis) => {
      const rows = [["a", ...sizes[0]], ["b", ...sizes[1]], ["result", ...Array(ndim - found.length).fill(null), ...found]];
      const lit = (r, c) => !r || c != axis + 1 ? "" : found[0] == "no" ? "no" : r == 3 ? "sum" : "now";
      frames.push(`<p>${text}</p>${tables(table("", [head, ...rows.map(row => row.map(size => size ?? ""))], lit))}`);
    };
    show("Right edges together.", [], ndim);
    for (let axis = ndim - 1; axis >= 0 && out[0] != "no"; axis--) {
      const [size, verdict, words] = meet(sizes[0][axis], sizes[1][axis]);
      questions[frames.length] = {text: `What happens on axis ${axis - ndim}?`, answer: verdict, told: verdict, choices: VERDICTS};
      out.unshift(size);
      show(`axis ${axis - ndim}: ${words}`, out, axis);
    }
    if (out[0] != "no") {
      questions[frames.length] = {text: "So which shape has the result?", answer: out, told: tuple(out)};
      show(`They fit, and make <b><code>${tuple(out)}</code></b>.`, out, ndim);
    }
    return {title: `${tuple(shapes[0])} and ${tuple(shapes[1])}, axis by axis`, frames, questions};
  }

  // ---- memory through strides: foundations/explore/axes.py ----
  function refuseView(strip, shape, strides) {
    if (!(strip.length >= 1 && strip.length <= 12)) refuse("The strip holds 1 to 12 numbers, please.");
    if (![1, 2].includes(shape.length)) refuse("One or two axes can be shown here, not more.");
    if (shape.length != strides.length)
      refuse(`The shape has ${shape.length} axes, and there are ${strides.length} strides: one for each axis.`);
    if (!shape.every(n => n >= 1 && n <= 8)) refuse("Each axis has 1 to 8 places, please.");
    const ends = shape.map((n, k) => (n - 1) * strides[k]);
    const [low, high] = [Math.min, Math.max].map(pick => ends.reduce((sum, end) => sum + pick(0, end), 0));
    if (low >= 0 && high < strip.length) return;
    const out = low < 0 ? low : high, last = shape.map((n, k) => ends[k] * out > 0 ? n - 1 : 0);
    refuse(`Cell ${tuple(last)} would be place ${out}, outside the strip: it has places 0 to ${strip.length - 1}.`);
  }

  function typed_view(texts) {
    const strip = literal(texts.strip, "[10, 20, 30]");
    if (!Array.isArray(strip) || !strip.every(isNumber)) refuse("The strip is a row of numbers, such as [10, 20, 30].");
    const shape = wholeNumbers(texts.shape, "A shape", "(2, 3)"), strides = wholeNumbers(texts.strides, "Strides", "(3, 1)");
    refuseView(strip, shape, strides);
    const numbers = strip.map(x => written(Number(x))), small = place => `<small>place ${place}</small>`;
    const [rows, columns] = shape.length > 1 ? shape : [1, shape[0]], down = shape.length > 1 ? strides[0] : 0;
    const cells = Array.from({length: rows}, (_, i) => Array.from({length: columns}, (_, j) => down * i + strides.at(-1) * j));
    const steps = strides.map((step, k) => `${step} along axis ${k}`).join(" and ");
    return {html: tables(table("the strip of memory, and its places", [numbers, numbers.map((_, place) => small(place))]),
                         table(`shape ${tuple(shape)}: a step is ${steps}`, cells.map(row => row.map(p => `${numbers[p]}<br>${small(p)}`))))};
  }

  // ---- the loops of a product: foundations/explore/products.py ----
  function typed_product(texts) {
    const a = matrix(texts.a), b = matrix(texts.b), [n, p, m] = [a.length, a[0].length, b[0].length];
    if (p != b.length) refuse(`a is ${tuple([n, p])} and b is ${tuple([b.length, m])}: expected (n, p) and (p, m); p is ${p} in a and ${b.length} in b`);
    if (n * p * m > 150) refuse(`${n * p * m} multiplications are too many to step through; at most 150`);
    const c = a.map(() => Array(m).fill("")), frames = [], questions = {};
    const show = (text, names, row, column, cell) =>
      frames.push(`<p>${text}</p>${tables(table(names[0], a, row), table(names[1], b, column), table("c", c, cell))}`);
    const [first, second, third] = [[n, p], [p, m], [n, m]].map(size => `<code>${tuple(size)}</code>`);
    show(`a is ${first}, b is ${second}, so c is ${third}. All its cells begin at 0.`, ["a", "b"]);
    for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) for (let k = 0; k < p; k++) {
      const before = c[i][j] || 0, isNew = k == 0 && frames.length > 1;
      c[i][j] = before + a[i][k] * b[k][j];
      questions[frames.length] = isNew
        ? {text: "Which cell of c is next? (row, column)", answer: [i, j], told: tuple([i, j])}
        : {text: `What will c[${i}, ${j}] be?`, answer: [c[i][j]], told: written(c[i][j])};
      const sum = `${written(before)} + ${written(a[i][k])} · ${written(b[k][j])}`;
      show(`<code>i = ${i}, j = ${j}, k = ${k}</code>: <code>c[${i}, ${j}] += a[${i}, ${k}] * b[${k}, ${j}]</code> is ${sum} = <b>${written(c[i][j])}</b>`,
           [`a, row ${i}`, `b, column ${j}`], (r, s) => r == i && s == k ? "now" : r == i ? "line" : "",
           (r, s) => r == k && s == j ? "now" : s == j ? "line" : "", (r, s) => r == i && s == j ? "sum" : "");
    }
    return {title: "i, j, k", frames, questions};
  }

  // ---- the page ----
  const make = {typed_shapes, typed_view, typed_product, expression_stepper: graphs.expression_stepper};

  function put(stepper, found) {                       // into a stepper that stands in the page
    if (found.html) stepper.querySelector(".tables").outerHTML = found.html;
    else {
      const slider = stepper.querySelector("input[type=range]");
      stepper.querySelector("b").textContent = found.title;
      for (const part of [stepper, slider]) part.setAttribute("aria-label", found.title);
      stepper.querySelector("[aria-live]").innerHTML = found.frames.map((shown, i) => frame(shown, i, found)).join("");
      slider.max = found.frames.length - 1;
      slider.value = 0;
      slider.dispatchEvent(new Event("input", {bubbles: true}));
    }
    for (const wide of stepper.querySelectorAll(".wide")) wide.tabIndex = 0;
    stepper.dispatchEvent(new Event("made", {bubbles: true}));      // contents.js looks which of them scroll
  }

  function open(box) {
    const stepper = box.querySelector(".stepper"), starts = JSON.parse(box.dataset.starts), form = document.createElement("form");
    if (!stepper || !make[box.dataset.f]) return;
    form.innerHTML = '<button>show</button><span role="status" class="visually-hidden"></span><p role="alert"></p>';
    const [button, status, alert] = form.children;
    const fields = Object.entries(starts).map(([name, start]) => {
      const label = document.createElement("label"), field = document.createElement("input");
      Object.assign(field, {name, value: start, spellcheck: false, autocomplete: "off", autocapitalize: "off"});
      label.append(`${name} `, field);
      button.before(label);
      return field;
    });
    let before = Object.values(starts).join("\n");
    const take = event => {
      event.preventDefault();
      const texts = fields.map(field => field.value), now = texts.join("\n");
      if (now == before) return;
      before = now;
      alert.textContent = status.textContent = "";
      try {
        const found = make[box.dataset.f](Object.fromEntries(fields.map((field, i) => [field.name, texts[i]])));
        put(stepper, found);
        status.textContent = `Below: ${found.title ?? "what is seen"}.`;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        alert.textContent = `✗ ${error.message}`;
      }
      stepper.hidden = alert.textContent != "";
    };
    for (const event of ["change", "submit"]) form.addEventListener(event, take);
    box.lastElementChild.replaceWith();                // the note that this needs a kernel
    box.prepend(form);
  }

  document.querySelectorAll("[data-f]").forEach(open);
  return {...make, put};
})();
