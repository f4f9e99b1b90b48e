"""Only what pyproject.toml cannot say: the README for the package index, where relative links lead nowhere."""
import configparser, re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
settings = configparser.ConfigParser(interpolation=None)
settings.read(HERE / "settings.ini", encoding="utf-8")
repository, tag = "{user}/{repo}".format(**settings["DEFAULT"]), f"v{settings['DEFAULT']['version']}"


def absolute(text):
    "The same text, its links and pictures by their address at the version's tag."
    places = {"!": f"https://raw.githubusercontent.com/{repository}/{tag}/", "": f"https://github.com/{repository}/blob/{tag}/"}
    return re.sub(r"(!?)\[([^]]*)\]\((?!https?:|#)([^)]+)\)", lambda m: f"{m[1]}[{m[2]}]({places[m[1]]}{m[3]})", text)


setup(long_description=absolute((HERE / "README.md").read_text(encoding="utf-8")), long_description_content_type="text/markdown")
