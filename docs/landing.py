"""The first page: what moves, the names that a model invented, the map of the chapters."""
import html, re

from pages import cells
from place import chapters

from foundations.explore import graph_box

INVENTED = re.compile(r"^(\d\.\d): .*kept back; (.+)$", re.M)      # chapter 9 prints this
KINDS = {"0.5": "cautious", "1.0": "as it learned", "1.5": "daring"}


def invented():
    "Temperature -> names, from what chapter 9 printed when it was run."
    for path in (p for p in chapters() if "language" in p.name):
        for cell in cells(path):
            for out in cell.get("outputs", []):
                if found := INVENTED.findall("".join(out.get("text", ""))): return {t: names.split() for t, names in found}
    raise ValueError("no cell of the chapter on language prints names as INVENTED expects them")


def names_figure():
    rows = "".join(f"<tr><th scope='row'>{t} <small>{KINDS.get(t, '')}</small></th>"
                   f"<td>{' '.join(f'<span>{html.escape(n.capitalize())}</span>' for n in names)}</td></tr>"
                   for t, names in invented().items())
    return (f'<figure class="names"><table><thead><tr><th scope="col">temperature</th><th scope="col">names</th></tr></thead>'
            f"<tbody>{rows}</tbody></table><figcaption>Where the way leads: a language model of 15,936 numbers, each part written in chapters 1 to 9, "
            "invents names letter by letter. The higher the temperature, the more it dares.</figcaption></figure>")


TIME = r"(an hour|half an hour|\d+(?= minutes|,))"
MINUTES = {"an hour": 60, "half an hour": 30}

def duration(text):
    "How long a chapter says that it takes, and its exercises; nothing where it does not say."
    parts = re.search(rf"takes (?:about )?{TIME}", text), re.search(rf"exercises (?:at the end )?(?:another )?{TIME}", text)
    return " + ".join(f"{MINUTES.get(m[1], m[1])} min" for m in parts if m)


def given():
    "Chapter -> what its reader builds, from the table of the notebook that becomes the README."
    text = "\n".join(c["source"] for c in cells("index.ipynb") if c["cell_type"] == "markdown")
    return dict(re.findall(r"^\| \[[^]]+\]\((\d\d_\w+)\.ipynb\) \| (.+?) \|", text, re.M))


def chapter_map():
    gives, rows = given(), []
    for path in chapters():
        first = next(c["source"] for c in cells(path) if c["cell_type"] == "markdown")
        title = re.match(r"# \d+\. (.+)", first)[1]
        rows.append(f"| {int(path.name[:2])} | [{title}]({path}) | {gives.get(path.stem, '')} | {duration(first)} |")
    return "\n".join(["| no. | chapter | what you build | how long |", "|--:|---|---|---|", *rows])


def page(template):
    forms, _ = graph_box("x*x + 2*x", "x = 3")._repr_mimebundle_()
    stepper = forms["text/html"]
    return (template.replace("{{stepper}}", stepper.replace("\n", " ")).replace("{{names}}", names_figure())
            .replace("{{map}}", chapter_map()).replace("{{first}}", chapters()[0].stem))
