"""The files that take longest begin first, so that two processes end at about the same time (scripts/test.py); a browser, for those who need one."""
import pytest

LONG = ["test_lab.py", "test_book.py", "test_lite.py", "test_exercises.py", "test_exercises_lab.py"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="module")
def browser():
    "Chromium, one for each file of tests; where there is none, they are skipped."
    from in_lab import launched
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        chromium, why = launched(playwright)
        if not chromium: pytest.skip(f"no Chromium: {why}")
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=dict(width=1300, height=1000))
    yield page
    page.close()
