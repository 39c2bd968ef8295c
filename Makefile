# Builds and installs the C and C++ library, and the command line tool. Needs cargo, a C compiler and GNU binutils.
# `make help` names the targets and settings. Rust programs use the crate and need none of this.

PREFIX     = /usr/local
BINDIR     = $(PREFIX)/bin
LIBDIR     = $(PREFIX)/lib
INCLUDEDIR = $(PREFIX)/include
DOCDIR     = $(PREFIX)/share/doc/zoarium
DESTDIR    =

CARGO       = cargo
CARGO_FLAGS = --locked
RUSTC       = rustc
PROFILE     = release
CC          = cc
LD          = ld
OBJCOPY     = objcopy
NM          = nm
AR          = ar
INSTALL     = install
LDFLAGS     =
# What test-install holds the installation against; all of it where nothing is said. See tests/package/check.
STEPS       =
# What cargo built already, to be packaged instead of building anew: a libzoarium.a.
ARCHIVE     =

target  := $(or $(CARGO_TARGET_DIR),target)
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
major   := $(word 1,$(subst ., ,$(version)))
minor   := $(word 2,$(subst ., ,$(version)))
# Before 1.0 a minor release may break the interface; build.rs says the same.
abi     := $(if $(filter 0,$(major)),0.$(minor),$(major))
soname  := libzoarium.so.$(abi)
real    := libzoarium.so.$(version)

OUT     = $(target)/package/$(PROFILE)
archive = $(if $(ARCHIVE),$(ARCHIVE),$(target)/$(if $(filter dev test,$(PROFILE)),debug,$(PROFILE))/libzoarium.a)
pcdir   = $(LIBDIR)/pkgconfig
cmakedir = $(LIBDIR)/cmake/zoarium
# Where one folder lies, seen from another; an absolute path where it is not below the prefix.
below    = $(if $(filter $(PREFIX)/%,$(1)),$(patsubst $(PREFIX)/%,%,$(1)),)
relative = $(shell realpath -ms --relative-to='$(2)' '$(1)')

.PHONY: all bin install install-lib install-bin uninstall test-install sizes help FORCE
.DELETE_ON_ERROR:

all: $(OUT)/$(real) $(OUT)/libzoarium.a

help:
	@echo 'make                the library: $(real) and libzoarium.a, in $(OUT)'
	@echo 'make install        the library, its headers, pkg-config file and CMake package, below PREFIX; builds nothing'
	@echo '                    where `make` has built it already, so that root needs no cargo'
	@echo 'make bin            the command line tool `zoarium`'
	@echo 'make install-bin    the command line tool, in BINDIR'
	@echo 'make uninstall      takes away what both installed'
	@echo 'make test-install   installs into an empty folder, builds the examples with it in every way, runs them'
	@echo 'make sizes          bytes of what would be installed'
	@echo
	@echo 'PREFIX=$(PREFIX) BINDIR=$(BINDIR) LIBDIR=$(LIBDIR) INCLUDEDIR=$(INCLUDEDIR) DOCDIR=$(DOCDIR)'
	@echo 'DESTDIR=            a folder that stands for / while packaging'
	@echo 'PROFILE=$(PROFILE)     dev builds faster and is slower'
	@echo 'CC, CARGO, CARGO_FLAGS, LDFLAGS, LD, OBJCOPY, NM, AR, RUSTC   the tools'
	@echo 'ARCHIVE=            package this libzoarium.a instead of building one'

# ---- building -------------------------------------------------------------------------------------------------------

# Cargo knows best whether there is something to do. But `sudo make install` installs what `make` has built: root may have
# no cargo.
ask-cargo = $(if $(and $(filter install%,$(MAKECMDGOALS)),$(wildcard $(1))),,FORCE)

ifeq ($(ARCHIVE),)
# Only the archive: with the Rust library in the same build cargo leaves out optimisation across crates.
$(archive): $(call ask-cargo,$(archive))
	@mkdir -p $(OUT)
	$(CARGO) rustc --lib --crate-type staticlib --profile $(PROFILE) --no-default-features $(CARGO_FLAGS) -- \
	    --print native-static-libs=$(abspath $(OUT)/native-static-libs)

# Written by the rule above, unless cargo had nothing to do.
$(OUT)/native-static-libs: $(archive)
	@mkdir -p $(OUT)
	@test -s $@ || { $(RUSTC) --crate-type staticlib --print native-static-libs=$@ -o $(OUT)/nothing.a - </dev/null && rm -f $(OUT)/nothing.a; }
	@touch $@
else
$(OUT)/native-static-libs: $(ARCHIVE)
	@mkdir -p $(OUT)
	$(RUSTC) --crate-type staticlib --print native-static-libs=$@ -o $(OUT)/nothing.a - </dev/null
	@rm -f $(OUT)/nothing.a
endif

# One object in which only our names are global. What cargo makes has all of Rust's standard library in it, with names
# that another Rust library in the same program has too: linking both would fail.
$(OUT)/libzoarium.o: $(archive)
	@mkdir -p $(OUT)
	$(NM) -g --defined-only $(archive) 2>/dev/null | awk '$$3 ~ /^zoa_/ { print $$3 }' | sort -u >$(OUT)/names
	@test -s $(OUT)/names
	$(LD) -r --force-group-allocation $$(sed 's/^/-u /' $(OUT)/names) -o $(OUT)/whole.o $(archive)
	$(OBJCOPY) --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd \
	    --keep-global-symbols=$(OUT)/names $(OUT)/whole.o $@
	@rm -f $(OUT)/whole.o

$(OUT)/libzoarium.a: $(OUT)/libzoarium.o
	@rm -f $@
	$(AR) rcsD $@ $<

# Linked here and not by cargo, because rustc hands the linker a list of names of its own, which cannot have a version
# and cannot be joined with a list that has one.
$(OUT)/$(real): $(OUT)/libzoarium.o $(OUT)/native-static-libs bindings/c/zoarium.map
	$(CC) -shared -o $@ $< -Wl,--version-script=bindings/c/zoarium.map -Wl,-soname,$(soname) -Wl,--gc-sections \
	    -Wl,-z,nodelete -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--strip-all $(LDFLAGS) \
	    $$(cat $(OUT)/native-static-libs)

binary = $(target)/$(if $(filter dev test,$(PROFILE)),debug,$(PROFILE))/zoarium
bin: $(binary)
$(binary): $(call ask-cargo,$(binary))
	$(CARGO) build --bin zoarium --profile $(PROFILE) $(CARGO_FLAGS)

sizes: all
	@cd $(OUT) && wc -c $(real) libzoarium.a

# ---- installing -----------------------------------------------------------------------------------------------------

# Folders below the prefix are named from the file's own place, so that the whole can be moved.
fill = sed -e 's|@VERSION@|$(version)|g' -e 's|@MAJOR@|$(major)|g' -e 's|@MINOR@|$(minor)|g' \
    -e 's|@REAL@|$(real)|g' -e 's|@SONAME@|$(soname)|g' -e 's|@PREFIX@|$(PREFIX)|g' \
    -e 's|@PC_PREFIX@|$(if $(call below,$(pcdir)),$${pcfiledir}/$(call relative,$(PREFIX),$(pcdir)),$(PREFIX))|g' \
    -e 's|@PC_LIBDIR@|$(if $(call below,$(LIBDIR)),$${prefix}/$(call below,$(LIBDIR)),$(LIBDIR))|g' \
    -e 's|@PC_INCLUDEDIR@|$(if $(call below,$(INCLUDEDIR)),$${prefix}/$(call below,$(INCLUDEDIR)),$(INCLUDEDIR))|g' \
    -e 's|@CMAKE_LIBDIR@|$(call relative,$(LIBDIR),$(cmakedir))|g' \
    -e 's|@CMAKE_INCLUDEDIR@|$(if $(and $(call below,$(INCLUDEDIR)),$(call below,$(cmakedir))),$${CMAKE_CURRENT_LIST_DIR}/$(call relative,$(INCLUDEDIR),$(cmakedir)),$(INCLUDEDIR))|g' \
    -e "s|@NATIVE_LIBS@|$$(cat $(OUT)/native-static-libs)|g"

install: install-lib

install-lib: all
	$(INSTALL) -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(pcdir) $(DESTDIR)$(cmakedir) $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(DOCDIR)
	$(INSTALL) -m 755 $(OUT)/$(real) $(DESTDIR)$(LIBDIR)/$(real)
	ln -sf $(real) $(DESTDIR)$(LIBDIR)/$(soname)
	ln -sf $(soname) $(DESTDIR)$(LIBDIR)/libzoarium.so
	$(INSTALL) -m 644 $(OUT)/libzoarium.a $(DESTDIR)$(LIBDIR)/libzoarium.a
	$(INSTALL) -m 644 include/zoarium.h include/zoarium.hpp $(DESTDIR)$(INCLUDEDIR)
	@$(fill) bindings/c/zoarium.pc.in >$(DESTDIR)$(pcdir)/zoarium.pc
	@$(fill) bindings/c/zoariumConfig.cmake.in >$(DESTDIR)$(cmakedir)/zoariumConfig.cmake
	@$(fill) bindings/c/zoariumConfigVersion.cmake.in >$(DESTDIR)$(cmakedir)/zoariumConfigVersion.cmake
	@chmod 644 $(DESTDIR)$(pcdir)/zoarium.pc $(DESTDIR)$(cmakedir)/*.cmake
	$(INSTALL) -m 644 LICENSE docs/LINKING.md $(DESTDIR)$(DOCDIR)

install-bin: bin
	$(INSTALL) -d $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 755 $(binary) $(DESTDIR)$(BINDIR)/zoarium

uninstall:
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(real) $(soname) libzoarium.so libzoarium.a)
	rm -f $(addprefix $(DESTDIR)$(INCLUDEDIR)/,zoarium.h zoarium.hpp) $(DESTDIR)$(pcdir)/zoarium.pc
	rm -f $(addprefix $(DESTDIR)$(cmakedir)/,zoariumConfig.cmake zoariumConfigVersion.cmake)
	rm -f $(addprefix $(DESTDIR)$(DOCDIR)/,LICENSE LINKING.md) $(DESTDIR)$(BINDIR)/zoarium
	rmdir $(DESTDIR)$(cmakedir) $(DESTDIR)$(DOCDIR) 2>/dev/null || true

# Moved before it is used: nothing installed may depend on where it was installed.
test-install: all
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(MAKE) --no-print-directory install DESTDIR=$$folder PREFIX=/nowhere/zoarium LIBDIR=/nowhere/zoarium/lib \
	    INCLUDEDIR=/nowhere/zoarium/include DOCDIR=/nowhere/zoarium/share/doc/zoarium >/dev/null; \
	mv $$folder/nowhere/zoarium $$folder/moved; \
	CC='$(CC)' tests/package/check $$folder/moved $(STEPS)
