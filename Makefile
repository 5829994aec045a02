# Two commands do everything: `make demo` and `make test`.
.PHONY: demo test test-long bench check format setup pins clean

VENV := .venv
BIN := $(VENV)/bin

demo: setup            ## the main job: from hypothesis to verdict, then on real data
	@scripts/demo.sh

test: setup            ## everything that is checked
	@scripts/test.sh

test-long: setup       ## the long simulations alone
	$(BIN)/python -m pytest -q -m long

bench: setup           ## figures as ratios; never fails a build
	-$(BIN)/python bench/run.py

check: setup           ## linters, types and contracts alone
	@scripts/check.sh

format: setup
	$(BIN)/ruff format src tests bench examples
	$(BIN)/ruff check --fix src tests bench examples

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@scripts/setup.sh

pins: setup            ## resolve the pins anew, for all platforms, without addresses
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --universal \
	  --python-version 3.11 --extra all --extra dev --no-emit-package equipoise -o constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache equipoise-out
