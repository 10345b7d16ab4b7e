# dtm: distributed transactions in PostgreSQL

EXTENSION = dtm
DATA = $(notdir $(wildcard $(srcdir)/dtm--*.sql)) dtm.psql
MODULE_big = dtm
OBJS = $(patsubst $(srcdir)/%.c,%.o,$(wildcard $(srcdir)/src/*.c $(srcdir)/src/*/*.c))

# The version of the SQL that this library goes with
DTM_VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(srcdir)/dtm.control)

PG_CPPFLAGS = -I$(srcdir)/src -D_GNU_SOURCE -DDTM_VERSION='"$(DTM_VERSION)"' $(if $(CASSERT),-DUSE_ASSERT_CHECKING=1,-DNDEBUG) $(shell curl-config --cflags)

# What only gcc and compilers like it know; PostgreSQL finds out which it has
PG_CFLAGS = $(if $(filter yes,$(GCC)),$(GNU_CFLAGS))
GNU_CFLAGS = -fvisibility=hidden -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-declaration-after-statement $(if $(WERROR),-Werror)
SHLIB_LINK = $(shell curl-config --libs)

# One test a line, in the order of the layers
REGRESS = decoys install submit idempotent options steps results complete badinput query barrier barrier_input barrier_owner barrier_extension barrier_in msg_barrier topics workflow orphans cleanup roles submitters additions additions_each renames run_due policy lanes servers urls gateway acts views failed metrics alerts single
REGRESS_OPTS = --inputdir=$(srcdir)
# The server that is tested may be a stock one
REGRESS_PREP = say-what-is-left-out
ISOLATION = barrier_concurrency barrier_additions submit_concurrency branch_concurrency home_concurrency act_concurrency complete_concurrency lane_concurrency
# Not at the top: with an empty element in LIBRARY_PATH, gcc reads "specs" there
ISOLATION_OPTS = --inputdir=$(srcdir)/isolation
TAP_TESTS = 1

EXTRA_CLEAN = output_participant $(patsubst $(srcdir)/%.c,%,$(wildcard $(srcdir)/test/unit/test_*.c))

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Out of the tree, there are no folders for what is built
ifdef VPATH
$(shell $(MKDIR_P) $(sort $(dir $(OBJS))))
endif

# Headers are few; whoever changes one builds all
$(OBJS): $(wildcard $(srcdir)/src/*.h $(srcdir)/src/*/*.h)

say-what-is-left-out:
	@$(bindir)/psql -X -A -t -d postgres -c "SELECT 'installcheck leaves out the test orphans: max_prepared_transactions is ' || setting || ', and it needs 10' FROM pg_settings WHERE name = 'max_prepared_transactions' AND setting::int < 10"

# The barrier's tests with sql/participant.sql, in a database without the extension
installcheck-participant:
	$(pg_regress_installcheck) --inputdir=$(srcdir) --outputdir=output_participant --dbname=dtm_participant participant_install barrier barrier_input
	$(pg_isolation_regress_installcheck) --inputdir=$(srcdir)/isolation --outputdir=output_participant --dbname=dtm_participant --use-existing barrier_concurrency

unit:
	$(MAKE) -C $(srcdir)/test/unit check

# What t/018_upgrade.pl updates from, and the script that it runs: the part of
# the extension's own script that comes after the tables, after what changes them
UPGRADE = $(srcdir)/test/upgrade
install-upgrade-test:
	$(MKDIR_P) '$(DESTDIR)$(datadir)/extension'
	$(INSTALL_DATA) $(UPGRADE)/dtm--0.1.0.sql '$(DESTDIR)$(datadir)/extension/'
	{ cat $(UPGRADE)/tables--0.1.0--0.2.0.sql; \
	  sed -n '/^\/\* -* submitting -* \*\/$$/,$$p' $(srcdir)/dtm--0.2.0.sql | sed '/^SELECT dtm.set_home();$$/d'; \
	} >'$(DESTDIR)$(datadir)/extension/dtm--0.1.0--0.2.0.sql'

# ---------- documentation, the gateway, all of it ----------

# In folders as they are here, so that links lead where they should
DOCUMENTS = $(filter-out %.7,$(patsubst $(srcdir)/%,%,$(wildcard $(addprefix $(srcdir)/,README*.md CHANGELOG.md LICENSE docs/*.* docs/*/*.* examples/*.* monitoring/*.* sql/participant.sql))))
DOCUMENTS_TO = $(DESTDIR)$(docdir)/$(docmoduledir)/dtm
MANUAL_TO = $(DESTDIR)$(mandir)/man7

install: install-documents
install-documents:
	for file in $(DOCUMENTS); do \
		$(INSTALL_DATA) -D "$(srcdir)/$$file" "$(DOCUMENTS_TO)/$$file" || exit 1; \
	done
	$(INSTALL_DATA) -D $(srcdir)/docs/dtm.7 '$(MANUAL_TO)/dtm.7'

uninstall: uninstall-documents
uninstall-documents:
	rm -rf '$(DOCUMENTS_TO)'
	rm -f '$(MANUAL_TO)/dtm.7'

# The network API's daemon, see gateway/README.md
gateway install-gateway uninstall-gateway:
	$(MAKE) -C $(srcdir)/gateway PG_CONFIG=$(PG_CONFIG) $(patsubst %-gateway,%,$(filter-out gateway,$@))

# With the gateway, which needs more libraries
world: all gateway
install-world: install install-gateway
uninstall-world: uninstall uninstall-gateway

# What is released: the last commit, as PGXN and packages want it
DISTRIBUTION = dtm-$(DTM_VERSION)
dist:
	cd $(srcdir) && git archive --format=zip --prefix=$(DISTRIBUTION)/ --output=$(CURDIR)/$(DISTRIBUTION).zip HEAD

.PHONY: say-what-is-left-out installcheck-participant unit install-upgrade-test \
	install-documents uninstall-documents gateway install-gateway uninstall-gateway \
	world install-world uninstall-world dist
