# make demo    plan with the models that ship, then collect, train and plan on two tasks, from nothing
# make test    the suite; what takes long is left to .ci/run
# make lint    ruff          make types   mypy, strict          make clean
#
# The environment in .venv is made by the first target that needs it and again when pyproject.toml or TORCH changes.
# Another PyTorch: make TORCH=torch==2.11.0 test

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0

# Minutes of training in the demo, per task.
DEMO_MINUTES_two-room ?= 4
DEMO_MINUTES_pusht ?= 5

BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.installed
ROOMS := planners envs datasets benchmarks
SHIPPED := $(notdir $(wildcard worldmodel/zoo/two-room worldmodel/zoo/pusht))
DEMOS := demo-two-room demo-pusht

.PHONY: demo demo-shipped $(DEMOS) test lint types clean
.NOTPARALLEL:

demo: demo-shipped $(DEMOS)
	@echo
	@echo "Done. Every table is in runs/demo-*/*.json, every video in runs/demo-*/*.mp4 and runs/*-shipped/plan.mp4."
	@echo "Success rates above: n = 50 pairs; of the models trained here 10 CEM iterations, after minutes of training."

demo-shipped: $(INSTALLED)
	@for task in $(SHIPPED); do \
		echo; \
		echo "== $$task: plan with the model that ships, nothing to collect or to train (n = 50) =="; \
		$(BIN)/wm-plan --env $$task --model $$task || exit $$?; \
	done

$(DEMOS): demo-%: $(INSTALLED)
	@echo
	@echo "== $*: collect what is missing, then train for $(DEMO_MINUTES_$*) minutes =="
	@rm -rf runs/demo-$*
	@$(BIN)/wm-train --env $* --preset nano --minutes $(DEMO_MINUTES_$*) --out runs/demo-$*
	@for predictor in prefix one-step; do \
		echo; \
		echo "== $*: plan with the $$predictor predictor (n = 50, 10 iterations) =="; \
		$(BIN)/wm-plan --env $* --model runs/demo-$* --predictor $$predictor --episodes 50 --iterations 10 \
			--json runs/demo-$*/$$predictor.json --video runs/demo-$*/$$predictor.mp4 || exit $$?; \
	done

# A core for each process; a file's tests share what they make, so they stay in one.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not see the mapped folders as parts of worldmodel in a checkout, so it is shown a tree of links.
types: $(INSTALLED)
	@rm -rf build/types && mkdir -p build/types/worldmodel
	@ln -s $(CURDIR)/worldmodel/* $(ROOMS:%=$(CURDIR)/%) build/types/worldmodel/
	cd build/types && $(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p worldmodel

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# PyTorch goes first and alone, so that what follows takes the build chosen here.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
$(INSTALLED): pyproject.toml
	@echo "Setting up $(VENV) with $(TORCH): minutes, the first time only."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(TORCH)
	@$(PIP) -e ".[dev]"
	@echo "$(TORCH)" > $@

ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(TORCH))
.PHONY: $(INSTALLED)
endif
