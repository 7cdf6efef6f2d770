# The two commands of the README, and what continuous integration calls.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The versions of the test environment; with another Python, or for the newest: make test LOCK=
LOCK ?= requirements-test.txt
# Workers and subprocesses compile the package and the tests once, not each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test coverage notebooks lint audit docs lock check slow clean

demo: $(VENV)/.installed
	$(BIN)/gan-metrics demo

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --maxprocesses 4 --dist worksteal

# The same, a quarter slower.
coverage: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest --cov --cov-report= -q -n auto --maxprocesses 4 --dist worksteal
	$(BIN)/coverage report --skip-covered --fail-under=90

# By the environment's own kernel, offline; one to a core, or in full one after another.
notebooks: $(VENV)/.installed-test
ifdef GAN_METRICS_FULL
	GAN_METRICS_OFFLINE=0 $(BIN)/pytest -q --nbmake --nbmake-timeout=7200 --timeout 7200 \
	    --durations=0 notebooks
else
	OMP_NUM_THREADS=1 GAN_METRICS_OFFLINE=1 $(BIN)/pytest -q --nbmake --nbmake-timeout=300 \
	    -n auto --maxprocesses 4 --durations=0 notebooks
endif

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml gan_metrics
	$(BIN)/python .ci/plain_language.py

audit: $(VENV)/.installed-test
	$(BIN)/python .ci/audit.py

# Not with --quiet: warnings that are not shown do not count as errors.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock: $(VENV)/bin/pip
	$(BIN)/pip install --quiet --upgrade --upgrade-strategy eager --editable '.[docs,test]'
	sed -n '/^#/p' requirements-test.txt > $(VENV)/lock
	$(BIN)/pip freeze --exclude-editable \
	    | grep -viE '^(torch|torchvision|triton|nvidia-.*|cuda-.*|pip|setuptools)==' >> $(VENV)/lock
	mv $(VENV)/lock requirements-test.txt

check: lint
	$(BIN)/pytest -q tests/test_structure.py tests/test_imports.py tests/test_public_api.py
	$(BIN)/pytest -q --doctest-modules gan_metrics

slow: coverage
	-$(BIN)/pytest -q -m slow --timeout 3600 --junitxml build/slow.xml
	$(BIN)/python .ci/slow_table.py build/slow.xml > docs/slow-tests-table.md
	$(BIN)/python tests/against_peers/recorded.py
	$(BIN)/python benchmarks/faults.py > docs/faults-table.md
	$(BIN)/python benchmarks/soak.py > docs/soak-table.md
	$(BIN)/python benchmarks/error_bars.py > docs/error-bars-table.md
	$(BIN)/python benchmarks/backbones.py > docs/backbones-table.md
	$(BIN)/python benchmarks/protocols.py > docs/protocols-table.md
	$(BIN)/python benchmarks/against_oracles.py > docs/oracles-table.md
	$(BIN)/python benchmarks/metric_error_bars.py > docs/metric-error-bars-table.md

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml $(LOCK) | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable '.[test]' $(if $(LOCK),--constraint $(LOCK))
	touch $@ $(VENV)/.installed

# For continuous integration: one installation for all checks.
$(VENV)/.installed-all: pyproject.toml $(LOCK) | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable '.[docs,test]' $(if $(LOCK),--constraint $(LOCK))
	touch $@ $(VENV)/.installed $(VENV)/.installed-test $(VENV)/.installed-docs

$(VENV)/.installed-docs: pyproject.toml $(LOCK) | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable '.[docs]' $(if $(LOCK),--constraint $(LOCK))
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build demo .coverage* .mypy_cache .pytest_cache .ruff_cache
