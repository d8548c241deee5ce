# Start here: `make demo` and `make test` need only Python 3.12 or 3.13.

BIN := .venv/bin
SHELL_FILES = $(shell git ls-files '*.sh' .ci/run)

.PHONY: help pages site archives demo train-demo test test-all lint format docs benchmarks readme reliability audit lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/complete  ## separate an example at several depths; table, files and picture in demo_output/ (20 s)
	@$(BIN)/python -m espnet2_tisdiss.recipes.tools.demo --out demo_output

train-demo: .venv/complete  ## train a small model on synthesised speech and score it (10 min)
	egs2/mini_2mix/enh1/run.sh --size quick

test: .venv/complete lint  ## check format, style and types, run the tests except the slow ones (10 min)
	$(BIN)/python -m pytest -m "not slow"

test-all: .venv/complete lint  ## the same with the slow tests, which train models (another 10 min)
	$(BIN)/python -m pytest

lint: .venv/complete  ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/shellcheck -x $(SHELL_FILES)

format: .venv/complete  ## format the Python files and fix what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/complete: requirements.txt setup.py
	@local/install.sh

pages: .venv/pages  ## install what the listening page and the documentation site need

.venv/pages: .venv/complete requirements-pages.txt
	$(BIN)/pip install --disable-pip-version-check --require-hashes --no-deps \
		--requirement requirements-pages.txt
	@touch $@

site: .venv/pages  ## build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

archives: .venv/pages  ## build the source archive and the wheel into dist/
	$(BIN)/python -m build

docs: .venv/complete  ## regenerate docs/configurations.md, docs/licences.md and the import diagram of docs/architecture.md
	$(BIN)/python -m espnet2_tisdiss.recipes.tools.model_table \
		conf/train_*.yaml egs2/*/enh1/conf/train_*.yaml \
		--output docs/configurations.md
	$(BIN)/python benchmarks/draw_imports.py --page docs/architecture.md
	$(BIN)/python benchmarks/licences.py --page docs/licences.md

benchmarks: .venv/complete  ## measure speed and memory for docs/performance.md (30 min)
	set -e; for script in speed training separators growth startup; do \
	    $(BIN)/python "benchmarks/$$script.py" --page docs/performance.md; done

readme: .venv/complete  ## measure the table of README.md and draw its picture (1 min)
	$(BIN)/python benchmarks/readme.py --page README.md --picture docs/images/example.png

reliability: .venv/complete  ## test what docs/reliability.md promises and write down what was found (30 min)
	-$(BIN)/python -m pytest -m promise --junitxml=build/reliability.xml
	$(BIN)/python benchmarks/reliability.py build/reliability.xml --page docs/reliability.md

audit: .venv/complete  ## look for known vulnerabilities of what requirements*.txt pin; needs the network (1 min)
	$(BIN)/uv tool run pip-audit==2.10.1 --strict --disable-pip --progress-spinner off \
		--requirement requirements.txt --requirement requirements-pages.txt

# The listening page (demo), its browser test, the documentation site (docs) and the archives (build)
# need requirements-pages.txt beyond requirements.txt; it is a list by hand, to which `make lock` adds
# hashes. Gradio wants an older pillow than requirements.txt has; everything runs with either.
PAGES_ONLY = $(addprefix --no-emit-package ,playwright pyee greenlet build pyproject-hooks)

lock: .venv/complete  ## pin what setup.py needs and requirements.txt lacks, with the hashes of all files
	$(BIN)/uv pip compile setup.py --extra train --extra recipes --extra cluster --extra onnx --extra dev $(PAGES_ONLY) \
		--universal --python-version 3.12 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file requirements.txt
	$(BIN)/uv pip compile requirements-pages.txt --no-deps \
		--universal --python-version 3.12 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file requirements-pages.txt

clean:  ## remove .venv; the recipes' output stays
	rm -rf .venv
