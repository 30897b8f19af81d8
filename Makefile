# Everything runs from one virtual environment, which the first target that needs it creates.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*))
WORKERS ?= 2

.PHONY: help demo test test-large test-all gpu bench results tables lint format tools published catalogue reference clean
help:
	@echo "make demo       set up, list the zoo, show a model, compare a variant of each family with timm, time six of them"
	@echo "make test       set up, then run the tests"
	@echo "make test-large every variant against its peer, every tensor corrupted, and what else is too long for every run"
	@echo "make test-all   both"
	@echo "make tools      run a network of each family under each tool, and print what passed as a table"
	@echo "make gpu        all that needs a GPU, in under ten minutes and offline: its tests, and a bench of every family"
	@echo "make bench      pytest-benchmark: creation, loading, inference, training, beside timm and torchvision"
	@echo "make results    time a variant of each family beside timm's and torchvision's for the README, in about an hour"
	@echo "make tables     write the tables of the README again from benchmarks/results/"
	@echo "make lint       ruff and mypy"
	@echo "make format     let ruff format and mend what it can"
	@echo "make published  write down again what timm, torchvision and pytorchcv have published"
	@echo "make catalogue  write down again what each first-party distribution contributes"
	@echo "make reference  write docs/reference.md again from the docstrings"
	@echo "make clean      remove the virtual environment"

# What is imported is compiled once, whatever the shell says: in fresh processes that is most of their time.
unexport PYTHONDONTWRITEBYTECODE

# One call for all of them, so that pip takes the core from here. One setuptools builds them all, and nothing is compiled
# before it is imported, which saves a third of the time.
$(VENV)/installed: pyproject.toml constraints.txt $(PLUGINS:=/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/pip install --quiet --no-compile --no-build-isolation --constraint constraints.txt --editable '.[dev]' $(PLUGINS:%=--editable ./%)
	@touch $@

demo: $(VENV)/installed
	$(BIN)/convzoo list --columns
	$(BIN)/convzoo show resnest50 --build
	$(BIN)/convzoo parity $(DEMO) --input photos --image-size 160
	$(BIN)/convzoo bench $(TIMED) --against timm --image-size 64 --threads 1 --budget 2 --in-process --no-memory --again \
		--out $(VENV)/demo.jsonl --report $(VENV)/demo.html

# The smallest variant of each family that timm has too.
DEMO := resnet18 resnetrs50 resnext50_32x4d wide_resnet50_2 seresnet18 seresnext26d_32x4d senet154 ecaresnet26t \
	ecaresnext26t_32x4d cbam_resnet50 resnest14d skresnet18 densenet121

# A variant of each family, of about the size of a ResNet-50.
USUAL := resnet50 resnetrs50 resnext50_32x4d wide_resnet50_2 seresnet50 seresnext50_32x4d senet154 \
	ecaresnet50d ecaresnext50t_32x4d cbam_resnet50 resnest50 skresnext50_32x4d densenet121

# Six variants, timed for two seconds each: enough to see the table, and it says where that does not resolve.
TIMED := resnet50 resnext50_32x4d seresnet50 resnest50 skresnext50_32x4d densenet121

test: $(VENV)/installed
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not large"

test-large: $(VENV)/installed
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m large

test-all: test test-large

# Formats whose engines are not installed are skipped, and said to be.
tools: $(VENV)/installed
	CONVZOO_TOOLS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -p tests.tools_table -m tool $(TOOLS)

# With the packages that a GPU image has: nothing is set up, and nothing is installed.
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py $(GPU)

bench: $(VENV)/installed
	$(BIN)/pytest benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' -o pythonpath=benchmarks --benchmark-only \
		--benchmark-group-by=group --benchmark-sort=name --benchmark-max-time=0.5 --benchmark-min-rounds=3 \
		--benchmark-columns=median,iqr,rounds --benchmark-json=$(VENV)/benchmarks.json

# The README's table of a processor: one thread, since others may be at work on the other cores.
CPU := --memory-format channels_last --batch-size 4 --threads 1 --no-memory --out benchmarks/results/cpu.jsonl
results: $(VENV)/installed
	@mkdir -p benchmarks/results
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[onnxruntime,openvino]'
	$(BIN)/convzoo bench $(USUAL) --against timm --against torchvision --form training,deployed --image-size 128 --budget 40 $(CPU)
	$(BIN)/convzoo bench condensenet74_g4 shakeshake26_2x32d --against training --form deployed --image-size 128 --budget 40 $(CPU)
	$(BIN)/convzoo bench $(USUAL) --against timm --mode train --image-size 64 --budget 40 $(CPU)
	$(BIN)/convzoo bench $(USUAL) --against timm --form deployed --engine openvino,onnxruntime --image-size 128 --budget 15 $(CPU)
	$(BIN)/python benchmarks/memory_curve.py > benchmarks/results/memory.md
	$(BIN)/python benchmarks/tables.py

tables: $(VENV)/installed
	$(BIN)/python benchmarks/tables.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

published: $(VENV)/installed
	$(BIN)/python -m convzoo.cli.published

catalogue: $(VENV)/installed
	$(BIN)/python -m convzoo.cli.catalogue

reference: $(VENV)/installed
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV)
