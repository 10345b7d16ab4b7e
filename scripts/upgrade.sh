#!/usr/bin/env bash
# From Debian 12 with PostgreSQL 15 to Debian 13 with PostgreSQL 17, with unfinished
# transactions, as docs/upgrading.md says: by pg_upgrade, and by dump and restore.
# If this fails, an upgrade loses or repeats what was in progress, calls services before
# somebody has said that it should, or docs/upgrading.md is wrong.  Not one of check.sh's
# tiers; needs root, a few gigabytes, and minutes.
#
#	scripts/upgrade.sh [FOLDER]
#
# FOLDER has what scripts/packages.sh -o FOLDER has made; without it, that is done first.
# DEBIAN_MIRROR and DTM_CHROOTS are as in chroot.sh.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/chroot.sh"

install debootstrap util-linux
make_scratch
packages=$(realpath "${1:-$SCRATCH/packages}")
root=$SCRATCH/root
passed=0 failed=0
[ $# -gt 0 ] || bash "$SCRATCH/dtm/scripts/packages.sh" -o "$packages" bookworm:15 trixie:17

# ok STATUS NAME
ok() {
	if [ "$1" = 0 ]; then
		echo "ok - $2"
		passed=$((passed + 1))
	else
		echo "not ok - $2"
		failed=$((failed + 1))
	fi
}

# step NAME: runs what it reads inside the old system, which all of them share
step() {
	local status=0

	{
		echo 'set -euo pipefail; . /upgrade/functions'
		cat
	} >"$root/upgrade/step"
	inside "$root" bash /upgrade/step >"$SCRATCH/step.log" 2>&1 </dev/null || status=$?
	[ $status = 0 ] || tail -60 "$SCRATCH/step.log"
	ok $status "$1"
	return $status
}

say "Debian 12, PostgreSQL 15"
make_chroot bookworm "$root" >"$SCRATCH/chroot.log" 2>&1 || { tail -20 "$SCRATCH/chroot.log"; exit 1; }
mkdir -p "$root/upgrade"
cp -r "$packages/bookworm" "$packages/trixie" "$root/upgrade/"
code_block "$SCRATCH/dtm/docs/upgrading.md" 'pg_upgradecluster -m upgrade' >"$root/upgrade/as-documented"
printf '%s\n' 'APT::Get::Assume-Yes "true";' 'APT::Install-Recommends "false";' >"$root/etc/apt/apt.conf.d/99yes"
cat >"$root/upgrade/functions" <<'END'
# psql on cluster NAME, whichever version it has now
on() {
	local version port

	read -r version port <<<"$(pg_lsclusters -h | awk -v name="$1" '$2 == name && $4 ~ /^online/ { print $1, $3 }' | sort -n | tail -1)"
	shift
	runuser -u postgres -- psql -X -q -A -t -v ON_ERROR_STOP=1 -p "$port" -d shop "$@"
}
# waits for a minute at most until the query is true
until_true() {
	local tries=300

	until [ "$(on "$1" -c "$2")" = t ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "waited in vain for: $2"; return 1; }
		sleep 0.2
	done
}
is() {
	local got
	got=$(on "$1" -c "$2")
	[ "$got" = "$3" ] || { printf 'got:\n%s\nexpected:\n%s\nof: %s\n' "$got" "$3" "$2"; return 1; }
}
stop_all() {
	local version name
	pg_lsclusters -h | while read -r version name _; do
		pg_ctlcluster "$version" "$name" stop -m fast || true
	done
}
END
cat >"$root/upgrade/shop.sql" <<'SQL'
CREATE EXTENSION dtm;
GRANT dtm_user TO app;
CREATE TABLE done (gid text, branch_id text, op text, as_role name DEFAULT current_user);
CREATE TABLE gate (open boolean);
INSERT INTO gate VALUES (false);
GRANT ALL ON done, gate TO app;
CREATE FUNCTION work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF payload ? 'behind' AND op = 'action' AND NOT (SELECT open FROM public.gate) THEN
    RAISE 'not yet' USING ERRCODE = 'DT425';
  ELSIF payload ? 'refuses' AND op = 'action' THEN
    RAISE 'no' USING ERRCODE = 'DT409';
  END IF;
  INSERT INTO public.done VALUES ($1, $2, $3);
END $$;
SET ROLE app;
SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.work', 'sql:public.work', '{}')], gid => 'finished');
SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.work', 'sql:public.work', '{}'),
  dtm_step('sql:public.work', 'sql:public.work', '{"behind": true}')], gid => 'waits');
SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.work', 'sql:public.work', '{}'),
  dtm_step('sql:public.work', 'sql:public.work', '{"behind": true}'),
  dtm_step('sql:public.work', 'sql:public.work', '{"refuses": true}')], gid => 'will fail');
SELECT dtm_prepare('msg', 'prepared', ARRAY[dtm_step('sql:public.work', '', '{}')],
  '{"query_prepared": "http://127.0.0.1:1/", "timeout_to_fail": 1000000}');
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.work', '', '{}')], gid => 'delayed', options => '{"delay": 1000000}');
SQL
step "packages and two clusters, with unfinished transactions" <<'END' || exit 1
apt-get update -q
apt-get install -q --no-install-recommends /upgrade/bookworm/postgresql-15-dtm_*.deb
pg_createcluster 15 second
for name in main second; do
	pg_conftool 15 "$name" set shared_preload_libraries dtm
	pg_conftool 15 "$name" set dtm.retry_interval 200ms
	pg_ctlcluster 15 "$name" restart
	runuser -u postgres -- psql -X -q -p "$(pg_lsclusters -h | awk -v name="$name" '$2 == name { print $3 }')" \
		-c 'CREATE ROLE other' -c 'CREATE ROLE app LOGIN' -c 'DROP ROLE other' -c 'CREATE DATABASE shop'
	on "$name" -f - </upgrade/shop.sql
	until_true "$name" "SELECT (SELECT status FROM dtm.transactions WHERE gid = 'finished') = 'succeed'
		AND (SELECT count(DISTINCT gid) = 2 FROM dtm.calls WHERE error LIKE '%not yet%')"
done
stop_all
END

say "Debian 13"
step "the system is upgraded" <<'END' || exit 1
sed -i 's/bookworm/trixie/' /etc/apt/sources.list
apt-get update -q
apt-get full-upgrade -q
grep -q '^13' /etc/debian_version
pg_ctlcluster 15 main start
pg_ctlcluster 15 second start
# PostgreSQL 15 is still that of Debian 12, and so is dtm: the system is new, and it goes on
is main "SELECT state FROM dtm.stat_coordinator" running
is second "SELECT state FROM dtm.stat_coordinator" running
stop_all
END

say "PostgreSQL 17"
step "pg_upgrade, as docs/upgrading.md has it" <<'END' || true
cd /upgrade/trixie
pg_ctlcluster 15 main start
bash -eux /upgrade/as-documented
pg_lsclusters
is main "SELECT current_setting('server_version_num')::int / 10000" 17
stop_all
END
step "dump and restore" <<'END' || true
pg_ctlcluster 15 second start
pg_upgradecluster -m dump 15 second
pg_lsclusters
stop_all
END
for name in main second; do
	step "$name: paused, says why and what to do, and has called nothing" <<-END || true
	pg_ctlcluster 17 $name start
	until_true $name "SELECT state = 'paused' FROM dtm.stat_coordinator"
	on $name -x -c 'SELECT reason, hint FROM dtm.stat_coordinator' | tee /dev/stderr | grep -q 'dtm_resume()'
	on $name -c 'UPDATE gate SET open = true'
	is $name "SELECT status FROM dtm.transactions WHERE gid IN ('waits', 'will fail')" \$'submitted\nsubmitted'
	stop_all
	END
	step "$name: after dtm_resume(), all goes on for the role that submitted it" <<-END || true
	pg_ctlcluster 17 $name start
	on $name -c 'SELECT dtm_resume()'
	on $name -c "SET ROLE app; SELECT dtm_submit('msg', gid => 'prepared')"
	until_true $name "SELECT count(*) = 4 FROM dtm.transactions WHERE finished IS NOT NULL"
	is $name "SELECT gid, status, submitted_by FROM dtm.transactions ORDER BY gid COLLATE \"C\"" \
	\$'delayed|submitted|app\nfinished|succeed|app\nprepared|succeed|app\nwaits|succeed|app\nwill fail|failed|app'
	# each exactly once, what was done before the upgrade as well as what came later
	is $name "SELECT gid, branch_id, op, as_role, count(*) FROM done GROUP BY 1, 2, 3, 4 ORDER BY gid COLLATE \"C\", op, branch_id" \
	\$'finished|01|action|app|1\nprepared|01|action|app|1\nwaits|01|action|app|1\nwaits|02|action|app|1
	will fail|01|action|app|1\nwill fail|02|action|app|1\nwill fail|01|compensate|app|1\nwill fail|02|compensate|app|1'
	# it is at home here now
	pg_ctlcluster 17 $name restart
	until_true $name "SELECT state = 'running' FROM dtm.stat_coordinator"
	stop_all
	END
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
