# Every target sets up .venv by itself the first time. Without make: README.md, "Without make".
PY ?= python3
V := .venv/bin
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifeq ($(UV_FIND_LINKS),)        # PyTorch without the gigabytes of CUDA; UV_TORCH_BACKEND=auto for a GPU
UV_TORCH_BACKEND ?= cpu
endif
unexport UV_TORCH_BACKEND       # handed over as an option; uv refuses an empty one in the environment
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
unexport PYTHONDONTWRITEBYTECODE        # .venv keeps what was compiled: else PyTorch takes twice as long to start, each time
INSTALL := $(V)/uv pip install -q $(if $(PIP_NO_INDEX),--no-index) $(if $(UV_TORCH_BACKEND),--torch-backend $(UV_TORCH_BACKEND)) -c constraints.txt

ifneq ($(wildcard .venv/.ok),)          # its programs know where they lie
ifeq ($(shell test -x $(V)/python && { test ! -s .venv/.ok || test "$$(cat .venv/.ok)" = "$(CURDIR)"; } && echo fits),)
$(error .venv was made in another folder, or its Python is gone: remove .venv, and run make again)
endif
endif

help:            ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: .venv/.ok   ## open JupyterLab on the first chapter; ARGS=--no-browser for a server
	$(V)/python -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/nbs/01_matmul.ipynb \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test: .venv/.ok  ## check that export, outputs and README are in sync; lint; run every notebook and tests/
	$(V)/python scripts/test.py

lint: .venv/.ok  ## ruff and pyright: notebooks, package, scripts
	@failed=0; $(V)/ruff check || failed=1; $(V)/pyright || failed=1; exit $$failed

notebooks: .venv/.ok  ## export, run every notebook (or NB=nbs/01_matmul.ipynb), store outputs, make README.md
	$(V)/nbdev_export
	$(V)/python scripts/notebooks.py $(NB)
	$(V)/python scripts/readme.py

book: .venv/.ok  ## the site, in _site/: the notebooks with their stored outputs, the reference, search
	$(V)/python docs/build.py

lite: .venv/lite/.ok  ## the site, and beside it JupyterLab with a Python that runs in the browser; PYODIDE_URL: docs/run.md
	.venv/lite/bin/python docs/build.py --lite

bench: .venv/.ok ## measure the ratios that the chapters promise
	@failed=0; for b in shapes matmul layers engine training compiling peers; do $(V)/python benchmarks/$$b.py || failed=1; done; exit $$failed

wheels: .venv/.ok  ## fill wheels/ with all that another machine of this kind needs without a network
	$(V)/python -m pip download -q -d wheels -c constraints.txt uv 'setuptools>=77' '.[dev]'

lock: .venv/.ok  ## renew constraints.txt: the newest versions that work together
	env -u UV_FIND_LINKS $(V)/uv pip compile -q --upgrade pyproject.toml --all-extras --universal --python-version 3.11 \
	  --no-header --no-annotate -c scripts/lock.txt | grep -vE '^(nvidia-|cuda-|triton)' > .venv/lock && mv .venv/lock constraints.txt

.venv/.ok: pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "foundations needs Python 3.11 or later, and '$(PY)' is older or missing. Name one: make PY=python3.12 ..."; exit 1; }
	@echo "Setting up .venv (once; a few minutes on a slow line) ..."
	@$(PY) -m venv .venv
	@$(V)/python -m pip install -q $(if $(PIP_NO_INDEX),,--upgrade) uv && $(INSTALL) -p $(V)/python -e '.[dev]' || { \
	  echo "Not installed. With a network: run it again; if PyTorch's CPU index is out of reach, make ... UV_TORCH_BACKEND= (larger)."; \
	  echo "Without one: README.md, \"Without a network\"."; exit 1; }
	@$(V)/python -m jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements 2>/dev/null
	@echo "$(CURDIR)" > $@

.venv/lite/.ok: .venv/.ok pyproject.toml constraints.txt     # of its own: JupyterLab would try to load its kernel
	@$(V)/uv venv -q --allow-existing --seed -p $(V)/python .venv/lite
	@$(INSTALL) -p .venv/lite/bin/python -r pyproject.toml --extra docs --extra lite || { echo "Not installed: make lite needs a network once"; exit 1; }
	@touch $@

.PHONY: help lab test lint notebooks book lite bench wheels lock
