"use strict";
// An expression as a graph, forward and back, in the steps and words of foundations/explore/expressions.py and graphs.py.
const graphs = (() => {
  const {refuse, EXPRESSION, tokens, numeral, literal, isNumber, written} = reading;

  const sigmoid = x => Math.exp(Math.min(x, 0)) / (1 + Math.exp(-Math.abs(x)));
  const OPERATORS = {                                  // name; value; what a gradient g means for each argument
    "+": ["Addition", (a, b) => a + b, g => [g, g]],
    "-": ["Subtraction", (a, b) => a - b, g => [g, -g]],
    "*": ["Multiplication", (a, b) => a * b, (g, a, b) => [g * b, g * a]],
    "/": ["Division", (a, b) => a / b, (g, a, b) => [g / b, -g * (a / b / b)]],
    "**": ["Power", (a, b) => a ** b, (g, a, b) => [g * (b * a ** (b - 1 + (b == 0))),
                                                    g * (a ** b * Math.log(a + (a == 0 && b >= 0)))]],
    exp: ["Exp", Math.exp, (g, x) => [g * Math.exp(x)]],
    log: ["Log", Math.log, (g, x) => [g / x]],
    sin: ["Sin", Math.sin, (g, x) => [g * Math.cos(x)]],
    cos: ["Cos", Math.cos, (g, x) => [-g * Math.sin(x)]],
    tanh: ["Tanh", Math.tanh, (g, x) => [g * (1 - Math.tanh(x) ** 2)]],
    relu: ["ReLU", x => Math.max(x, 0), (g, x) => [g * (x > 0)]],
    sigmoid: ["Sigmoid", sigmoid, (g, x) => [g * sigmoid(x) * sigmoid(-x)]],
  };
  const FUNCTIONS = Object.keys(OPERATORS).slice(5);
  const ALLOWED = `names, numbers, + - * / ** and ${FUNCTIONS.slice(0, -1).join(", ")} or ${FUNCTIONS.at(-1)}`;
  const KEYWORDS = ("False None True and as assert async await break class continue def del elif else except finally for from "
    + "global if import in is lambda nonlocal not or pass raise return try while with yield").split(" ");

  function valuesOf(text) {
    const wrong = () => refuse(`“${[...text].slice(0, 60).join("")}” cannot be read. Write values like x = 2, y = -3.`);
    const found = new Map();
    for (const part of text.split(",").filter(part => part.trim())) {
      const [, name, value] = /^[ \t]*([A-Za-z_]\w*)[ \t]*=(.*)$/.exec(part) ?? wrong();
      try { found.set(name, literal(value, "")); } catch { wrong(); }
      if (!isNumber(found.get(name))) refuse(`${name} is no number, or larger than a million.`);
    }
    return found;
  }

  // A tree of {is, text, parts}: the sign, function, "name" or "number", and how it was typed, without spaces.
  function parse(expression) {
    const wrong = () => refuse(`“${expression}” cannot be read. Write ${ALLOWED}, as in x*y + x.`);
    const all = tokens(expression, EXPRESSION, wrong);
    let at = 0;
    const node = (is, from, ...parts) => ({is, parts, text: all.slice(from, at).join("")});
    const chain = (signs, part) => {
      const from = at;
      let left = part();
      while (signs.includes(all[at])) left = node(all[at++], from, left, part());
      return left;
    };
    const sum = () => chain(["+", "-"], () => chain(["*", "/"], factor));
    const factor = () => {
      const from = at, minus = all[at] == "-";
      if (minus) at += 1;
      const base = minus ? factor() : primary();
      if (minus) return node("minus", from, base);
      return all[at] == "**" ? node(all[at++], from, base, factor()) : base;
    };
    const closed = () => {
      at += 1;
      const inner = sum();
      return all[at++] == ")" ? inner : wrong();
    };
    const primary = () => {
      const from = at, token = all[at] ?? wrong();
      let found;
      if (token == "(") found = closed();
      else if (/^[A-Za-z_]/.test(token) && !KEYWORDS.includes(token)) found = node("name", at++);
      else found = {value: numeral(token, wrong), ...node("number", at++)};
      if (found.is == "number" && !isNumber(found.value)) wrong();
      while (all[at] == "(") {
        if (found.is != "name" || !FUNCTIONS.includes(found.text)) wrong();
        found = node(found.text, from, closed());
      }
      return found;
    };
    const tree = sum();
    return at < all.length ? wrong() : tree;
  }

  // The result: {name, value, needs, operator, args}. Where the same is typed twice it is the same tensor.
  function tensorOf(expression, values) {
    if ([...expression].length > 80) refuse("At most 80 letters, please.");
    const tree = parse(expression.trim()), given = valuesOf(values), used = new Map(), results = new Map();
    if (!tree.parts.length) refuse("One name alone has no graph. Write something like x*y + x.");
    const kept = (where, name, make) => where.get(name) ?? where.set(name, make()).get(name);
    const leaf = (name, value, needs) => ({name, value: Number(value), needs, args: []});
    const read = ({is, text, value, parts}) => {
      if (is == "number") return kept(used, text, () => leaf(text, value, false));
      if (is == "name" && !given.has(text)) refuse(`${text} has no value. Write ${text} = 2, say.`);
      if (is == "name") return kept(used, text, () => leaf(text, given.get(text), true));
      const args = parts.map(read), [operator, f, back] = OPERATORS[is == "minus" ? "*" : is];
      if (is == "minus") args.push(leaf("a leaf", -1, false));
      const found = f(...args.map(a => a.value)), needs = args.some(a => a.needs);
      if (!Number.isFinite(found)) refuse(`${text.slice(0, 40)} is not a finite number at these values.`);
      const name = text.length <= 9 ? text : needs ? operator : "a leaf";
      return kept(results, text, () => ({name, value: found, needs, operator, back, args: needs ? args : []}));
    };
    const result = read(tree);
    if (!result.needs) refuse("Without a name there is no gradient.");
    if (results.size > 12) refuse("At most 12 operators, please.");
    return result;
  }

  // All that a result was made of, arguments first.
  function ordered(result) {
    const uses = new Map(), found = [result], order = [result];
    for (const t of found) for (const a of t.args) {
      if (!uses.has(a)) found.push(a);
      uses.set(a, (uses.get(a) ?? 0) + 1);
    }
    for (const t of order) for (const a of [...t.args].reverse()) {
      uses.set(a, uses.get(a) - 1);
      if (!uses.get(a)) order.push(a);
    }
    return order.reverse();
  }

  const list = words => words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0];
  const takes = t => `${t.operator} takes ${list(t.args.map(a => a.name))}`;
  const question = (text, x) => Number.isFinite(x) ? {text, answer: [x], told: written(x)} : undefined;

  function expression_stepper({expression, values}) {
    const result = tensorOf(expression, values), tensors = ordered(result), frames = [], questions = {};
    for (const t of tensors) Object.assign(t, {there: !t.args.length, uses: 0, gradient: undefined});
    for (const t of tensors) for (const a of t.args) a.uses += a.needs;
    for (const t of tensors) t.waiting = t.uses;
    const draw = drawing.of(tensors);
    const show = (text, lit) => frames.push(`<p>${text}</p><div class="wide">${draw(text, lit)}</div>`);

    show(`Given: ${list(tensors.filter(t => t.there).map(t => t.name))}.`);
    for (const t of tensors.filter(t => !t.there)) {
      questions[frames.length] = question(`${takes(t)}. What does it give?`, t.value);
      t.there = true;
      show(`Forward: ${takes(t)}, and gives ${written(t.value)}.`, t);
    }
    result.gradient = 1;
    const ready = [result];
    for (const t of ready) {
      if (!t.args.length) continue;
      const told = `${t.operator} is told ${written(t.gradient)}`, others = [...new Set(t.args)];
      const answers = t.back(t.gradient, ...t.args.map(a => a.value));
      t.args.forEach((a, i) => {
        if (a.needs) Object.assign(a, {gradient: a.gradient === undefined ? answers[i] : a.gradient + answers[i], waiting: a.waiting - 1});
      });
      const whole = t.args.find(a => a.uses > 1 && !a.waiting), i = t.args.findIndex(a => a.needs);
      questions[frames.length] = whole
        ? question(`${told}. What is the gradient of ${whole.name} then, all parts added?`, whole.gradient)
        : question(`${told}. What does it answer for ${t.args[i].name}?`, answers[i]);
      const parts = t.args.map((a, i) => (a.needs ? written(answers[i]) : "nothing") + (others.length > 1 ? ` for ${a.name}` : ""));
      const sums = others.filter(a => a.uses > 1).map(a => a.waiting ? ` ${a.name} waits for ${a.waiting} more.`
        : ` ${a.name} has received ${a.uses == 2 ? "both" : `all ${a.uses}`} of its parts: ${written(a.gradient)}.`);
      show(`Back: ${told}, and answers ${list(parts)}.${sums.join("")}`, t);
      ready.push(...others.filter(a => a.needs && !a.waiting));
    }
    return {title: "Forward, then back", frames, questions, tensors};
  }

  return {expression_stepper, KEYWORDS};
})();
