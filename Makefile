.PHONY: check test lint format docs constraints

check: ## everything that must hold before a change goes in
	bash .ci/run

test:
	pytest

lint:
	ruff check .
	ruff format --check .
	pyright
	lint-imports

format:
	ruff check --fix .
	ruff format .

docs: ## the page of the command line
	python docs/write_cli.py

constraints: ## pin the newest versions that fit together; run the tests afterwards
	(echo "# The versions that the tests pass with. Made by: make constraints"; \
	 echo torch==2.13.0 | uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 \
	   -c /dev/stdin --no-annotate --no-header -q) > constraints.new
	mv constraints.new constraints.txt
