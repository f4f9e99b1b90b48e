"use strict";
// What is typed, read and refused in the words of foundations/explore/controls.py; numbers as `written` and `brief` write them.
// A whole number is a BigInt, to tell 2 from 2.0; tuples and lists are arrays.
const reading = (() => {
  class Refusal extends Error {}
  const refuse = words => { throw new Refusal(words); };

  const NUMBER = String.raw`(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])`;
  const LITERAL = String.raw`[-+]?[ \t]*${NUMBER}|[,()\[\]]`;
  const EXPRESSION = String.raw`${NUMBER}|[A-Za-z_]\w*|\*\*|[-+*\/()]`;

  function tokens(text, pattern, wrong) {
    const found = [...text.matchAll(RegExp(String.raw`[ \t]*(${pattern})[ \t]*`, "gy"))];
    return found.map(m => m[0]).join("") == text ? found.map(m => m[1]) : wrong();
  }

  function numeral(token = "", wrong) {
    const plain = token.replace(/[-+ \t]*/, "");
    if (!/^[.\d]/.test(plain) || /^0+[1-9]\d*$/.test(plain)) wrong();
    const value = /^\d+$/.test(plain) ? BigInt(plain) : Number(plain);
    return token[0] == "-" ? -value : value;
  }

  function literal(text, example) {
    if ([...text].length > 200) refuse(`That is too long; write something like ${example}.`);
    const wrong = () => refuse(`“${text}” cannot be read. Write something like ${example}.`);
    const left = tokens(text, LITERAL, wrong), ends = {"(": ")", "[": "]"};
    const row = end => {                               // up to `end`; one value without a comma is itself, but for [ ]
      const found = [];
      let comma = false;
      while (left[0] != end) {
        found.push(left[0] in ends ? row(ends[left.shift()]) : numeral(left.shift(), wrong));
        comma = left[0] == ",";
        if (comma) left.shift();
        else if (left[0] != end) wrong();
      }
      left.shift();
      return end == "]" || found.length != 1 || comma ? found : found[0];
    };
    return left.length ? row(undefined) : wrong();
  }

  const isNumber = x => !Array.isArray(x) && Math.abs(Number(x)) <= 1e6;

  function matrix(text) {
    const rows = literal(text, "[[1, 2], [3, 4]]"), example = "Write rows in brackets: [[1, 2], [3, 4]].";
    if (!Array.isArray(rows) || !rows.length) refuse(example);
    if (rows.every(isNumber)) refuse(`That is one row of numbers. ${example}`);
    if (!rows.every(row => Array.isArray(row) && row.length)) refuse(example);
    if (!rows.flat().every(isNumber)) refuse(`Each cell is a number, at most a million. ${example}`);
    const lengths = rows.map(row => row.length);
    if (new Set(lengths).size > 1) refuse(`The rows have different lengths: [${lengths.join(", ")}].`);
    return rows.map(row => row.map(Number));
  }

  function wholeNumbers(text, what, example) {
    const found = literal(text, example), whole = x => typeof x == "bigint";
    if (whole(found)) refuse(`(${found}) is just the number ${found}. One axis is written (${found},).`);
    if (!Array.isArray(found) || !found.every(whole)) refuse(`${what} is a tuple of whole numbers, such as ${example}.`);
    if (found.length > 6) refuse(`${what} of ${found.length} axes? At most 6 can be shown.`);
    if (!found.every(isNumber)) refuse("At most a million, please.");
    return found.map(Number);
  }

  function shape(text) {
    const sizes = wholeNumbers(text, "A shape", "(3, 1)"), least = Math.min(...sizes);
    return least < 0 ? refuse(`No axis has ${least} places.`) : sizes;
  }

  function general(x, digits) {                        // Python's f"{x:.{digits}g}", where a tie goes to the even digit
    if (!Number.isFinite(x)) return x > 0 ? "inf" : x < 0 ? "-inf" : "nan";
    const [exact, size] = Math.abs(x).toExponential(60).split("e"), all = exact.replace(".", "");
    const down = /^50*$/.test(all.slice(digits)) && all[digits - 1] % 2 == 0;
    const [rounded, power] = (down ? Math.sign(x) * `${exact.slice(0, digits + 1)}e${size}` : x).toExponential(digits - 1).split("e");
    if (power >= -4 && power < digits) return `${Number(`${rounded}e${power}`)}`;
    return `${Number(rounded)}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }

  const tuple = sizes => `(${sizes.join(", ")}${sizes.length == 1 ? "," : ""})`;
  const brief = x => [3, 2, 1].map(digits => general(x, digits)).find(text => text.length <= 7) ?? general(x, 1);
  const written = x => Math.abs(x) < 1e7 && Number.isInteger(x) ? `${x}` : brief(x);

  return {Refusal, refuse, EXPRESSION, tokens, numeral, literal, isNumber, matrix, wholeNumbers, shape, tuple, brief, written};
})();
