# Two commands from a fresh clone: `make demo` and `make test`.  Both make .venv themselves.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
ENGINE_SOURCES := $(shell find engine -name '*.[ch]' -o -name CMakeLists.txt)
SUFFIX := $(if $(filter Darwin,$(shell uname)),dylib,so)

.PHONY: demo test test-long lint docs clean

demo: .venv/installed gan_export/libgan.$(SUFFIX)
	rm -rf demo && mkdir demo
	gan-train mnist32-demo -o demo/run
	gan-export torchscript demo/run/generator_4.pth -o demo/generator.pt
	gan-export onnx demo/run/generator_4.pth -o demo/generator.onnx
	gan-export verify demo/generator.pt demo/run/generator_4.pth
	gan-export verify demo/generator.onnx demo/run/generator_4.pth
	gan-sample demo/generator.onnx -n 64 --seed 7 -o demo/grid.png
	gan-bench demo/run/generator_4.pth demo/generator.pt demo/generator.onnx \
	  --runtimes eager,torchscript,onnxruntime,native --batch 64 --rounds 3 --json demo/bench.json
	@printf '%s\n' '' \
	  'demo/run/              the training run: a minute on 10,000 digits, so its digits are rough' \
	  'demo/generator.onnx    the same generator for any ONNX runtime; demo/generator.pt for TorchScript' \
	  'demo/grid.png          64 of its images, seed 7; exported/mnist32/preview.png shows a trained one' \
	  'demo/bench.json        the benchmark, with its raw samples' '' \
	  'Next, with .venv/bin on your PATH:' \
	  '  gan-sample exported/mnist32/generator.onnx -n 64 --seed 7 -o grid.png' \
	  '  gan-export inspect demo/run/generator_4.pth' \
	  '  gan-export onnx YOUR_CHECKPOINT.pth' \
	  '  gan-train list'

# The files of tests that measure speed, which run on their own: collecting all others takes half a minute.
ALONE = $(shell grep -rl 'mark\.alone' tests --include='test_*.py')

# Two workers of one thread each.
test: .venv/tested gan_export/libgan.$(SUFFIX) lint
	OMP_NUM_THREADS=1 python -m pytest -n 2 -m 'not long and not alone'

# Then what runs alone.
test-long: .venv/tested gan_export/libgan.$(SUFFIX)
	OMP_NUM_THREADS=1 python -m pytest -n 2 -m 'long and not alone' --timeout 1800 --durations 40
	python -m pytest -m 'long and alone' --timeout 1800 $(ALONE)

lint: .venv/tested
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo
	python tools/check_language.py

# build/site, which any static server shows; the pages of the gallery that run in the browser lie in it.
docs: .venv/tested gan_export/libgan.$(SUFFIX)
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	gan-export web exported/mnist32/generator.pth -o build/site/gallery/live
	gan-export web exported/voxel32/generator.gan -o build/site/gallery/live-volumes
	@echo 'python3 -m http.server -d build/site 8000    then open http://localhost:8000'

# uv only installs: it fetches torch's many wheels side by side, in a third of pip's time.
.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check uv
	uv pip install --python $(BIN)/python --quiet --config-setting wheel.cmake=false --editable '.[all]' cmake ninja
	touch $@

.venv/tested: .venv/installed
	uv pip install --python $(BIN)/python --quiet --config-setting wheel.cmake=false --editable '.[test]'
	touch $@

# In the source tree, where an editable install looks for it.  Without a compiler everything else still works.
gan_export/libgan.$(SUFFIX): $(ENGINE_SOURCES) .venv/installed
	-cmake -S engine -B build/engine -G Ninja -DCMAKE_BUILD_TYPE=Release -DGAN_TESTS=OFF -DGAN_VERSIONED=OFF -DGAN_STATIC=OFF > /dev/null \
	  && cmake --build build/engine > /dev/null && cp build/engine/libgan.$(SUFFIX) $@.new && mv $@.new $@

clean:
	rm -rf build demo gan_export/libgan.*
