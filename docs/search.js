// Put into the search page after Sphinx's own: which finds come first, and what is shown of a page.

// Of pages that match alike the one that explains: a chapter, and the first that speaks of it; before them how to run it.
// A word that is a chapter's own name, as matmul, leads to that chapter before its module in the reference.
let asked;
const parse = Search._parseQuery;
Search._parseQuery = query => (asked = query.trim().toLowerCase(), parse(query));
Scorer.score = ([page, , , , score]) => {
  const chapter = /^(\d\d)_(.*)/.exec(page);
  if (!chapter) return page == "run" ? score + 7 : score;
  return score + 7 - chapter[1] / 20 + 20 * (chapter[2] == asked);
};

// The text itself, without the buttons above it.
Search.htmlToText = (page, place) => {
  const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
  for (const part of article.querySelectorAll(".headerlink, .read-only, script, style")) part.remove();
  return ((place && article.querySelector(`[id="${place.slice(1)}"]`)) || article).textContent;
};
