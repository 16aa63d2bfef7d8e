# Every command sets up what it needs: a virtual environment with pinned, hash-checked dependencies.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := ledger consensus contracts api nodes

.PHONY: setup auditor demo test check bench soak chaos model fuzz generate lock clean

setup: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "comity needs Python 3.11 or later, got " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
# Not compiled ahead: that would take as long as all the rest, mostly for modules that nobody imports.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation --editable .
	@touch $@

# The light install, for those who only verify: no gRPC, no FastAPI, no LevelDB. Usable without the rest.
auditor:
	$(PYTHON) -m venv .venv-auditor
	.venv-auditor/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/auditor.txt -r requirements/build.txt
	.venv-auditor/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation .

# make demo DEMO="--trucks 12 --out out"
demo: setup
	$(BIN)/comity demo $(DEMO)

# make test TESTS="tests/ledger -k proof"
test: setup
	$(BIN)/pytest -q -n 2 --dist worksteal $(TESTS)

check: setup
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy $(SOURCES) tests
	$(BIN)/lint-imports --config pyproject.toml
	$(BIN)/python -m tests.generated
	$(BIN)/hadolint -c docker/.hadolint.yaml docker/Dockerfile
	$(BIN)/yamllint --strict -c docker/.yamllint.yaml docker
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

bench: setup
	$(BIN)/python -m tests.benchmarks $(BENCH)

# The whole validator over a simulated machine. make simulate SEEDS=300, or SEED=7 for one run again (TRACE=file: its events);
# with WITHIN=1 no more seeds are begun after a minute; SEASON=renewals: one sort of trouble in all of them
simulate: setup
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace $(TRACE)),--seeds $(SEEDS) $(if $(FIRST),--first $(FIRST)) $(if $(WITHIN),--minutes $(WITHIN))) $(if $(SHORT),--short) $(if $(SEASON),--season $(SEASON))

# make soak SOAK_MINUTES=60 SEEDS=20000
SOAK_MINUTES ?= 10
SEEDS ?= 2000
soak: setup
	$(BIN)/python -m tests.simulation --minutes $(SOAK_MINUTES)
	$(BIN)/python -m tests.simulation --bugs
	$(BIN)/python -m tests.consensus.simulation --seeds $(SEEDS)
	@if unshare --mount --net --pid --fork true 2>/dev/null && [ -e /dev/loop-control ]; then \
		$(BIN)/python -m tests.chaos --minutes 0.2 --out build/chaos-planted --plant no-sync --only power-cut-everything,power-cut-authority; \
	else echo "no namespaces or loop devices here: chaos is not tried on a planted bug"; fi
	COMITY_HYPOTHESIS_PROFILE=soak $(BIN)/pytest -q -n 2 -o faulthandler_timeout=0 tests/ledger tests/consensus tests/contracts
	$(BIN)/pytest -q -m soak -o faulthandler_timeout=0

# make chaos MINUTES=30 SEED=7 CHAOS="--only kill,loss"; a report in build/chaos
MINUTES ?= 5
chaos: setup
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(CHAOS)

# The specification in docs/model: every state within its bounds, its invariants against mutations, traces of the core.
# make model MODEL=small (what CI runs), MODEL=full
model: setup
	$(BIN)/python -m tests.model $(if $(filter small full,$(MODEL)),--$(MODEL))

# Every parser under libFuzzer, for so many minutes together; what it learned stays in build/fuzz. make fuzz MINUTES=60 ONLY=note
fuzz: setup
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf $(VENV) build out

generate: setup
	$(BIN)/python -m tests.generated --write

lock: setup
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --all-extras pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra node --extra gateway pyproject.toml -o requirements/node.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements/auditor.txt
	echo 'hatchling>=1.29' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - -o requirements/build.txt
	echo 'atheris>=3,<3.1' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - -o requirements/fuzz.txt
