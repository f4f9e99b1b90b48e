"""The site: built from the stored outputs without a warning, then read in a browser at the width of a desk and of a phone.

Needs Sphinx, what npm has to give (fetched once) and Chromium; says which of them is missing.
"""
import functools, http.server, json, re, subprocess, sys, threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from foundations.nn import Module

pytest.importorskip("sphinx_book_theme", reason="the site needs the extra 'docs'")

ROOT = Path(__file__).resolve().parent.parent
DESK, PHONE = (1300, 900, "light"), (390, 844, "dark")
CHAPTERS = sorted(p.stem for p in (ROOT / "nbs").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def site():
    "The site as `make book` makes it: built anew unless it is newer than all that it is made from."
    out = ROOT / "_site"
    sources = [p for folder in ("nbs", "docs", "foundations") for p in (ROOT / folder).rglob("*") if p.is_file() and not {"node_modules", "__pycache__"} & set(p.parts)]
    newest = max(p.stat().st_mtime for p in sources)
    if not (out / "llms.txt").is_file() or (out / "llms.txt").stat().st_mtime < newest:
        done = subprocess.run([sys.executable, "docs/build.py"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 3: pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stdout + done.stderr
    return out


class Links(HTMLParser):
    "What a page asks for, where it leads, and the places on it."
    def __init__(self, text):
        super().__init__()
        self.asked, self.links, self.places = [], [], {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if a.get("id"): self.places.add(a["id"])
        if tag == "a" and a.get("href"): self.links.append(a["href"])
        if tag in ("img", "script", "source", "iframe") and a.get("src"): self.asked.append(a["src"])
        if tag == "link" and a.get("rel") not in ("canonical", "index", "search", "next", "prev"): self.asked.append(a.get("href", ""))


@pytest.fixture(scope="module")
def read(site): return {p: Links(p.read_text(encoding="utf-8")) for p in site.rglob("*.html") if "_static" not in p.parts}


def broken(site, page, links, read):
    "Addresses within the site that lead nowhere."
    for href in links:
        parts = urlsplit(href)
        if parts.scheme or parts.netloc: continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if target.is_dir(): target = target / "index.html"
        if not target.is_file() or (target in read and unquote(parts.fragment) not in read[target].places): yield f"{page.relative_to(site)}: {href}"


def test_no_link_within_the_site_is_broken(site, read):
    assert len(read) > 100
    wrong = [w for page, found in read.items() for w in broken(site, page, found.links + [a for a in found.asked if a[:5] != "data:"], read)]
    if wrong: pytest.fail(f"{len(wrong)}\n" + "\n".join(wrong[:30]), pytrace=False)


def test_a_page_asks_nobody_else(site, read):
    assert [(p.name, a) for p, found in read.items() for a in found.asked if a.startswith(("http", "//"))] == []


def test_a_broken_link_would_be_found(site, read):
    page = site / "index.html"
    assert [w.split()[1] for w in broken(site, page, ["nowhere.html", "03_forward.html#no", "03_forward.html", "https://example.org"], read)] == ["nowhere.html", "03_forward.html#no"]


def test_directives_are_obeyed_and_never_shown(site):
    for page in (site / f"{stem}.html" for stem in CHAPTERS):
        text = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
        assert not re.search(r"#\s*\|\s*(export|hide|default_exp|eval)", text) and "_THREADS" not in text, page.name


def test_every_chapter_folds_its_solutions(site):
    for page in sorted((ROOT / "nbs").glob("[0-9]*.ipynb")):
        cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
        wanted = sum(cell["metadata"].get("jupyter", {}).get("source_hidden", False) and cell["source"][0] != "#| hide\n" for cell in cells)
        assert (site / f"{page.stem}.html").read_text(encoding="utf-8").count(" hide above-input") == wanted, page.name


def test_the_reference_leads_to_the_chapter_and_back(site):
    reference, chapter = ((site / name).read_text(encoding="utf-8") for name in ("api/foundations.forward.html", "03_forward.html"))
    assert 'href="../03_forward.html#def-relu"' in reference and "n n_in, n_in n_out, n_out -&gt; n n_out" in re.sub(r"<[^>]+>", "", reference)
    assert re.search(r"/foundations/forward\.py#L\d+-L\d+", reference)
    assert 'id="def-relu"' in chapter and 'href="api/foundations.forward.html#foundations.forward.relu"' in chapter


def test_the_reference_of_a_class_has_all_its_methods(site):
    "Those too that it has from classes which are for the file alone; these have no place of their own, and lead to it from the chapter."
    reference, chapter = ((site / name).read_text(encoding="utf-8") for name in ("api/foundations.nn.html", "07_nn.html"))
    places = re.findall(r'id="(foundations\.nn\.[^"]*)"', reference)
    public = [name for name in dir(Module) if name[0] != "_" and callable(getattr(Module, name))]
    assert len(public) > 15 and [name for name in public if places.count(f"foundations.nn.Module.{name}") != 1] == []
    assert [place for place in places if "._" in place and "__call__" not in place] == []
    steps = [c.__name__ for c in Module.__mro__[:-1]]
    assert [name for name in steps if f'id="def-{name}"' not in chapter] == [] and chapter.count('href="api/foundations.nn.html#foundations.nn.Module"') == len(steps)


def test_llms_txt_lists_what_is_there(site):
    places = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    assert len(places) > 40 and [p for p in places if not (site / p).is_file()] == []
    assert "@shapes" in (site / "03_forward.md").read_text(encoding="utf-8")


def test_the_map_says_of_each_chapter_what_it_gives_and_how_long(site):
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", (site / "index.html").read_text(encoding="utf-8").partition('id="the-chapters"')[2], re.S)
    told = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)] for row in rows[1:]]
    assert [int(row[0]) for row in told] == [int(stem[:2]) for stem in CHAPTERS]
    assert [row for row in told if not all(row) or not re.fullmatch(r"\d+ min \+ \d+ min", row[3])] == []


def test_a_chapter_says_that_it_is_read_here_and_where_it_runs(site):
    for stem in CHAPTERS:
        [said] = re.findall(r'<p class="read-only">(.*?)</p>', (site / f"{stem}.html").read_text(encoding="utf-8"), re.S)
        assert 'href="run.html"' in said, stem


def test_each_column_of_a_table_has_a_name(site, read):
    nameless = [page.name for page in read if re.search(r"<th\b[^>]*>\s*(<p>\s*</p>)?\s*</th>", page.read_text(encoding="utf-8"))]
    assert nameless == []


def test_no_two_pages_of_a_list_have_one_name(site):
    lists = re.findall(r"<ul>(.*?)</ul>", (site / "index.html").read_text(encoding="utf-8").partition("site-nav")[2].partition("</nav>")[0], re.S)
    named = [re.findall(r"<a[^>]*>(.*?)</a>", one) for one in lists]
    assert len(named) == 4 and [one for one in named if len(set(one)) < len(one)] == []


def test_words_within_a_formula_have_no_backslash(site, read):
    "MathJax shows what stands in text{...} as it is."
    assert [page.name for page in read if re.search(r"\\text\{[^}]*\\[_%&#]", page.read_text(encoding="utf-8"))] == []


def test_the_maths_has_its_licence(site): assert "Apache License" in (site / "_static/mathjax/LICENSE").read_text(encoding="utf-8")


# ---- in a browser ----

@pytest.fixture(scope="module")
def at(site):
    "The address of a page, served on loopback; a file that is missing is an error in the console."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lambda page: f"http://127.0.0.1:{server.server_port}/{page}"
    server.shutdown()


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(browser, request, at):
    width, height, scheme = request.param
    context = browser.new_context(viewport=dict(width=width, height=height), color_scheme=scheme)
    page, wrong = context.new_page(), []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("request", lambda r: None if r.url.startswith((at(""), "data:", "blob:")) else wrong.append(r.url))
    yield page
    context.close()
    assert wrong == []


AXE = ROOT / "docs/node_modules/axe-core/axe.min.js"
TOLD = """async () => (await axe.run(document, {resultTypes: ['violations'], rules: {'target-size': {enabled: true}}})).violations
  .map(v => `${v.id}: ` + v.nodes.slice(0, 4).map(n => n.target.join(' ') + ' ' + (n.any[0]?.message || '')).join('; '))"""

READ = [(DESK, "index.html"), (PHONE, "index.html"), (DESK, "06_engine.html"), (PHONE, "03_forward.html"), (PHONE, "run.html"),
        (DESK, "tools/explore/steppers.html"), (DESK, "api/foundations.forward.html"), (PHONE, "api/foundations.forward.html")]

@pytest.mark.parametrize("page, name", READ, indirect=["page"], ids=[f"{size[0]}-{name}" for size, name in READ])
def test_a_page_reads_well(page, at, name):
    "Nothing in the console, nothing from elsewhere, nothing that axe finds."
    page.goto(at(name))
    page.add_script_tag(path=str(AXE))
    found = page.evaluate(TOLD)
    if found: pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_no_page_scrolls_sideways_on_a_phone(page, at):
    for name in (*(f"{stem}.html" for stem in CHAPTERS), "index.html", "readme.html", "making.html", "api/foundations.forward.html", "tools/explore.html"):
        page.goto(at(name), wait_until="domcontentloaded")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


@pytest.mark.parametrize("page", [DESK], indirect=True)
def test_a_line_of_code_fits_a_desk(page, at):
    for name in CHAPTERS:
        page.goto(at(f"{name}.html"), wait_until="domcontentloaded")
        assert page.evaluate("[...document.querySelectorAll('.cell_input pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length") == 0, name


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_wide_figure_keeps_its_letters_on_a_phone(page, at):
    "It is moved sideways within its cell; the page is not (above)."
    page.goto(at("01_matmul.html"))
    strip = page.locator("img[alt^='A 4 by 8 matrix']")
    assert strip.bounding_box()["width"] > 560 and strip.evaluate("e => getComputedStyle(e.parentElement).overflowX") == "auto"
    shares = page.evaluate("[...document.querySelectorAll('.cell_output > .output > img')].map(e => e.offsetWidth / e.getAttribute('width'))")
    assert len(shares) > 4 and min(shares) > 0.89


@pytest.mark.parametrize("page", [DESK], indirect=True)
def test_no_figure_of_a_chapter_is_shrunk_on_a_desk(page, at):
    "So that its letters are as large as test_pages.py wants them; those in a stepper too."
    seen = 0
    for name in CHAPTERS:
        page.goto(at(f"{name}.html"), wait_until="domcontentloaded")
        page.evaluate("document.querySelectorAll('.bd-article details').forEach(one => one.open = true)")
        shown = page.evaluate("[...document.querySelectorAll('.bd-article img[width]')].map(e => [e.offsetWidth, +e.getAttribute('width'), e.alt])")
        assert [alt for width, meant, alt in shown if 0 < width < meant] == [], name
        seen += len([width for width, *_ in shown if width])
    assert seen > 70


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_figures_and_words_are_readable_in_the_dark(page, at):
    "A figure stands on white; what is written in a report or a stepper differs from what it stands on."
    page.goto(at("03_forward.html"))
    assert page.locator("html").get_attribute("data-theme") == "dark"
    for image in page.locator(".cell_output img").all()[:6]: assert image.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"


def test_maths_is_set_and_has_words(page, at):
    page.goto(at("03_forward.html"))
    page.wait_for_selector("mjx-container svg")
    assert page.locator("mjx-container").count() > 20 and page.locator("mjx-merror").count() == 0


def test_a_stepper_moves_and_asks(page, at):
    page.goto(at("index.html"))
    stepper = page.locator(".stepper").first
    stepper.locator(".guess").first.fill("9")
    stepper.locator(".check").first.click()
    assert "✓ Right: 9" in stepper.inner_text()
    stepper.locator("input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    assert "step 2 of" in stepper.inner_text() and "As you said" in stepper.inner_text()
    page.keyboard.press("End")
    assert stepper.locator("input[type=range]").get_attribute("aria-valuetext").startswith("step 7 of 7")
    values = page.get_by_label("values")
    values.fill("x" * 60)
    values.press("Enter")
    assert "cannot be read" in page.get_by_role("alert").inner_text() and page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_box_computes_what_is_typed(page, at):
    "Without a kernel and by keys: shapes, a refusal in words, strides, a graph; nothing that axe finds, nothing that scrolls sideways."
    page.goto(at("02_broadcasting.html"))
    box = page.locator("[data-f=typed_shapes]")
    field = box.get_by_label("b", exact=True)
    assert field.input_value() == "(7, 6)" and "run this cell in Jupyter" not in box.inner_text()
    field.fill("(5, 1)")
    field.press("Enter")
    assert "(4, 5, 6) and (5, 1), axis by axis" in box.inner_text() and "step 1 of 5" in box.inner_text()
    field.fill("(5, ")
    field.press("Enter")
    assert box.get_by_role("alert").inner_text() == "✗ “(5, ” cannot be read. Write something like (3, 1)." and not box.locator(".stepper").is_visible()
    assert field.evaluate("field => field == document.activeElement")
    field.fill("(5, 1)")
    for key in ("Tab", "Tab", "Tab", "Home", "ArrowRight"): page.keyboard.press(key)      # past the button, past "back", to the slider
    assert box.get_by_role("alert").count() == 0 or not box.get_by_role("alert").inner_text()
    assert "step 2 of 5" in box.inner_text() and "b is stretched to 6" in box.inner_text()
    view = page.locator("[data-f=typed_view]")
    view.get_by_label("strides").fill("(1, 1)")
    page.keyboard.press("Enter")
    assert "Cell (3, 2) would be place 5, outside the strip" in view.inner_text()
    view.get_by_label("shape").fill("(2, 2)")
    page.keyboard.press("Enter")
    assert "shape (2, 2): a step is 1 along axis 0 and 1 along axis 1" in view.inner_text()
    page.add_script_tag(path=str(AXE))
    assert page.evaluate(TOLD) == [] and page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_scrolls_in_a_stepper_is_a_stop_for_keys_and_nothing_else(page, at):
    "In each step of each; what was typed included."
    found = set()
    for name in ("02_broadcasting", "06_engine", "tools/explore/steppers"):
        page.goto(at(f"{name}.html"))
        if name == "06_engine":
            page.locator("[data-f=expression_stepper]").get_by_label("expression").fill("sin(x*y) + x*y")
            page.keyboard.press("Enter")
        for slider in page.locator(".stepper input[type=range]:visible").all():
            for key in ("Home", "ArrowRight", "End"):
                slider.press(key)
                page.wait_for_timeout(60)
                boxes = page.evaluate("[...document.querySelectorAll('.wide')].filter(e => e.offsetWidth).map(e => [e.scrollWidth > e.clientWidth, e.tabIndex == 0])")
                assert [box for box in boxes if box[0] != box[1]] == [], (name, key)
                found |= {scrolls for scrolls, _ in boxes}
    assert found == ({True, False} if page.viewport_size["width"] < 600 else {False})


def test_a_graph_of_ones_own(page, at):
    page.goto(at("06_engine.html"))
    box = page.locator("[data-f=expression_stepper]")
    box.get_by_label("expression").fill("sin(x*y) + x*y")
    page.keyboard.press("Enter")
    slider = box.get_by_role("slider")
    assert slider.get_attribute("max") == "6" and box.get_by_role("img").count() == 1
    slider.press("End")
    assert box.get_by_role("img").get_attribute("aria-label").startswith("Back: Multiplication is told 1.96, and answers 5.88 for x and 3.92 for y. A graph of 5 tensors.")
    page.add_script_tag(path=str(AXE))
    assert page.evaluate(TOLD) == [] and page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_columns_open_and_close(page, at):
    "At a desk the left one makes room; on a phone each lies over the page until one chooses."
    page.goto(at("02_broadcasting.html"))
    chapters, switch = page.get_by_role("link", name="4. Gradients by hand"), page.locator(".primary-toggle")
    if page.viewport_size["width"] > 600:
        switch.click()
        chapters.wait_for(state="hidden")
        assert page.locator("article").bounding_box()["x"] > 0
        return switch.click() or chapters.wait_for()
    switch.click()
    chapters.wait_for()
    page.keyboard.press("Escape")
    page.locator(".secondary-toggle").click()
    page.locator("dialog").get_by_role("link", name="The rule", exact=True).click()
    page.wait_for_url("**/02_broadcasting.html#the-rule")
    assert page.locator("dialog[open]").count() == 0 and not chapters.is_visible()


FOUND = {"gradient": "04_backward", "stride": "02_broadcasting", "softmax": "03_forward", "matmul": "api/foundations.matmul", "no_grad": "06_engine", "DataLoader": "08_training", "install": "run", "colab": "run",
         "backpropagation": "04_backward", "initialization": "03_forward", "transformer": "09_language", "convolution": "12_convolution"}

FIRST = {"matmul": "01_matmul", "Broadcasting": "02_broadcasting", "backward": "04_backward", "training": "08_training", "install": "run"}

def test_search_finds_the_page_that_explains(page, at):
    "Among the first three, also by words that the page itself does not use, and first by its own name; and what is shown of a page is its text."
    page.goto(at("search.html?q=unbroadcast"))
    found = page.locator("#search-results li").filter(has=page.locator("a[href^='02_broadcasting.html']"))
    found.locator(".context").wait_for()
    assert "my_unbroadcast" in found.inner_text() and "System Settings" not in page.locator("#search-results").inner_text()
    first = "words => words.map(word => Search._performSearch(...Search._parseQuery(word)).reverse().slice(0, 3).map(([page]) => page))"
    missed = [(word, pages) for (word, wanted), pages in zip(FOUND.items(), page.evaluate(first, list(FOUND))) if wanted not in pages]
    assert missed == []
    assert {word: pages[0] for word, pages in zip(FIRST, page.evaluate(first, list(FIRST)))} == FIRST


def test_a_solution_opens_and_code_is_copied(page, at):
    page.goto(at("03_forward.html"))
    folded = page.locator("details.hide").first
    assert not folded.locator("pre").is_visible()
    folded.locator("summary").click()
    assert folded.locator("pre").is_visible() and page.locator("button.copybtn").count() > 50
