"""Sphinx's settings. It reads the pages that build.py has laid out; nothing is executed, and no page asks the network for anything."""
import re, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from api import modules
from pages import navigation
from place import BRANCH, NBS, REPOSITORY, VERSION

project, author, release = "foundations", "The foundations authors", VERSION
copyright = "2026 onwards, The foundations authors"
root_doc = "index"
extensions = ["myst_nb", "sphinx_copybutton"]
html_theme, html_title, html_favicon = "sphinx_book_theme", "foundations", str(HERE / "_static/icon.svg")
html_static_path, html_css_files = [str(HERE / "_static")], ["site.css"]
html_js_files = [(f"explorers/{name}.js", {"defer": "defer"}) for name in ("reading", "drawing", "graphs", "explorers")] + ["contents.js"]
html_copy_source = html_show_sourcelink = html_domain_indices = False       # of modules there is one list, api/index
html_search_scorer = str(HERE / "search.js")
templates_path = [str(HERE / "_templates")]
html_sidebars = {"**": ["find.html", "nav.html"]}
html_context = {"default_mode": "auto", "navigation": navigation([m.name for m in modules()])}
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

nb_execution_mode = "off"                            # the outputs that are stored
nb_merge_streams = True
nb_render_markdown_format = "myst"                   # tables in what a cell gives
nb_ipywidgets_js = {}                                # the default loads scripts from elsewhere
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "attrs_block"]
myst_heading_anchors = 3
mathjax_path = "mathjax/tex-svg.js"                  # docs/package.json says which
copybutton_selector = "div.cell_input pre, div.highlight-default pre, div.highlight-python pre, div.highlight-bash pre"

html_theme_options = {
    "repository_url": REPOSITORY, "repository_branch": BRANCH, "path_to_docs": "nbs",
    "use_repository_button": True, "use_source_button": True, "use_download_button": False,
    "home_page_in_toc": True, "show_navbar_depth": 1, "show_toc_level": 2,
    "launch_buttons": {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org",
                       "notebook_interface": "jupyterlab"},
}


def own_navigation(app, page, template, context, doctree):
    "The column at the left is nav.html: the theme need not make a tree of its own for every page."
    context["suppress_sidebar_toctree"] = lambda **options: False


def only_notebooks(app, page, template, context, doctree):
    "Pages that are no notebook of the repository have no place there, and none where to run."
    buttons = context.get("header_buttons", [])
    if not (NBS / f"{page}.ipynb").exists() or page == "index":
        buttons[:] = [b for b in buttons if b.get("label") not in ("launch-buttons", "download-buttons", "source-buttons")]


def run_here(app, page, template, context, doctree):
    "Where the notebooks run in the browser as well (make lite), each page has a button that opens its own there."
    if not app.tags.has("lite") or not (NBS / f"{page}.ipynb").exists() or page == "index": return
    context["header_buttons"].insert(0, {"type": "link", "url": f"{'../' * page.count('/')}lite/lab/index.html?path={page}.ipynb", "text": "Run it here",
                                         "label": "run-here", "tooltip": "In this browser, without installing anything", "icon": "fa-solid fa-play"})


def together(body):
    "No line ends within a short name, within an arrow of a report, or between a formula and the comma that follows it."
    short = lambda m: m[0].replace('class="', 'class="together ', 1) if len(re.sub("<[^>]+>", "", m[0])) <= 20 else m[0]
    body = re.sub(r'<code class="docutils literal.*?</code>', short, body)
    body = re.sub(r'<div class="report.*?</div>', lambda m: m[0].replace("-&gt;", '<span class="together">-&gt;</span>'), body, flags=re.S)
    return re.sub(r'(<span class="math[^>]*>[^<]*</span>)([,.;:?)]+)', r'<span class="together">\1\2</span>', body)


def readable(body):
    "How narrow a figure may become before its letters are too small: site.css has the rest."
    return re.sub(r'(<img alt="[^"]*" width="(\d+)" style=")', lambda m: f"{m[1]}--readable:{0.9 * int(m[2]):.0f}px;", body)


def reachable(app, page, template, context, doctree):
    "A fold is called what it says; what scrolls sideways can be scrolled by keys."
    if "body" not in context: return
    body = readable(together(context["body"])).replace(' aria-label="Toggle hidden content"', "")
    context["body"] = body.replace('<div class="wide">', '<div class="wide" tabindex="0">').replace('<div class="tables wide">', '<div class="tables wide" tabindex="0">')


def setup(app):
    for step in (own_navigation, only_notebooks, run_here, reachable): app.connect("html-page-context", step, priority=900)
