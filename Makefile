# A few words in front of Meson. `make` builds into build/, everything else says what it does.
CFILES = $(shell find src tests examples bench -name '*.[ch]' 2>/dev/null)

all: build/build.ninja
	ninja -C build

build/build.ninja:
	CC=gcc meson setup build

# Installs the packages of packages.txt that are missing.
deps:
	tools/deps

demo: deps all
	build/testudo demo

# Everything that is tested, with a closing line that sums it up.
check: deps
	tools/check

format:
	clang-format -i $(CFILES)

# Manual pages and the list of the runtime's symbols, written again from what was built.
update: all
	tools/man --update
	tools/symbols --update

clean:
	rm -rf build build-clang build-san

.PHONY: all deps demo check format update clean
