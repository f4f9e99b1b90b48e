"""What CONTRIBUTING.md shows a newcomer runs as it stands; what runs on the server is pinned and may do little."""
import re
from pathlib import Path

import pytest

from foundations.exercises.tasks import known

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture(autouse=True)
def no_exercise_stays():
    before = set(known)
    yield
    for name in set(known) - before: del known[name]


@pytest.mark.parametrize("code", CODE, ids=["operator", "exercise", "figure"])
def test_an_example_runs(code):
    assert "assert " in code or "gradcheck(" in code
    exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("wrong, right", [("-dout / (x * x)", "dout / (x * x)"), ("x.clip(max=0)).mistake", "x.clip(0)).mistake"), ("from 1 to 0.5", "from 1 to 2")])
def test_an_example_that_is_wrong_fails(wrong, right):
    [code] = [c for c in CODE if wrong in c]
    with pytest.raises(AssertionError): exec(compile(code.replace(wrong, right), "CONTRIBUTING.md", "exec"), {"__name__": "example"})


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

@pytest.mark.skipif(not WORKFLOWS, reason="an archive has none")
def test_workflows_are_pinned_and_may_do_little():
    assert {p.stem for p in WORKFLOWS} == {"test", "book", "release"}
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert "\npermissions: {}\n" in text, path.name                      # each job asks for its own
        assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", use) for use in re.findall(r"uses: (.+)", text)), path.name
        assert "secrets." not in text and "pull_request_target" not in text
