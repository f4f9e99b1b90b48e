"""Where things are: the folders, the repository's address, the chapters in their order."""
import configparser, os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS, PACKAGE = ROOT / "nbs", ROOT / "foundations"

_settings = configparser.ConfigParser(interpolation=None)
_settings.read(ROOT / "settings.ini", encoding="utf-8")
VERSION, BRANCH = _settings["DEFAULT"]["version"], _settings["DEFAULT"]["branch"]
NAME = os.environ.get("GITHUB_REPOSITORY") or "{user}/{repo}".format(**_settings["DEFAULT"])   # a fork's links lead to the fork
REPOSITORY = f"https://github.com/{NAME}"


def blob(path, lines=""):
    "The address of a file in the repository."
    return f"{REPOSITORY}/blob/{BRANCH}/{path}{lines}"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def notebooks():
    """All pages, by their path in nbs/. What begins with _ or a dot is none; what the exercises know of a chapter,
    their answers among it, is read in the repository."""
    found = (p.relative_to(NBS) for p in NBS.rglob("*.ipynb"))
    return sorted(p for p in found if not any(part[0] in "_." for part in p.parts) and not p.match("exercises/chapter*"))


def chapters(): return [p for p in notebooks() if p.name[0].isdigit()]
