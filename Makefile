.PHONY: check test lint format docs table constraints

check: ## everything that must hold before a change goes in
	bash .ci/run

test:
	pytest

lint:
	ruff check .
	ruff format --check .
	find app -name '*.pyi' -delete # Gradio's, beside our components
	pyright
	lint-imports

format:
	ruff check --fix .
	ruff format .

docs: ## the page of the command line
	python docs/write_cli.py

DATA ?= data
table: ## all models that we know, baselines and random weights side by side
	mkdir -p runs
	python benchmarks/make_checkpoint.py 7 --shape 6x192 --vocabulary 128 -o runs/random-abc-7.pth
	python benchmarks/make_checkpoint.py 7 --shape 4x192 --vocabulary 896 -o runs/random-notes-7.pth
	rwkv-music evaluate all runs/random-abc-7.pth runs/random-notes-7.pth $(DATA)/abc --also $(DATA)/midi/midi.tar.zst \
	  $(TABLE) --force -o docs/models/table.md -o docs/models/table.json -o docs/models/table.html

constraints: ## pin the newest versions that fit together; run the tests afterwards
	(echo "# The versions that the tests pass with. Made by: make constraints"; \
	 echo torch==2.13.0 | uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 \
	   -c /dev/stdin --no-annotate --no-header -q) > constraints.new
	mv constraints.new constraints.txt
