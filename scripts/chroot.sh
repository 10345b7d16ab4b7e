# Releases of Debian in chroots.  Source it after common.sh; needs root.
#
# DEBIAN_MIRROR is where the releases come from.  With DTM_CHROOTS, a folder, the
# chroots are kept there, and those that are there are used again; so are archives of
# chroots in which nothing is installed.

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || { echo "please run as root" >&2; exit 1; }

# own_dev ROOT: what runs there as root must not be able to change this machine's /dev
own_dev() {
	mount -t tmpfs -o mode=755 dev "$1/dev"
	cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$1/dev/"
	chmod 666 "$1"/dev/*
	ln -s /proc/self/fd "$1/dev/fd"
	ln -s fd/0 "$1/dev/stdin"
	ln -s fd/1 "$1/dev/stdout"
	ln -s fd/2 "$1/dev/stderr"
	ln -s pts/ptmx "$1/dev/ptmx"
	mkdir "$1/dev/pts" "$1/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
	mount -t tmpfs tmpfs "$1/dev/shm"
}

# inside ROOT COMMAND...: in namespaces of its own, and all that it starts ends with it
inside() {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --propagation private bash -eu -c "$(declare -f own_dev)"'
		root=$1
		shift
		mount -t proc proc "$root/proc"
		# packages set parameters of the kernel, which this machine shares
		mount --bind "$root/proc/sys" "$root/proc/sys"
		mount -o remount,bind,ro "$root/proc/sys"
		own_dev "$root"
		exec chroot "$root" env DEBIAN_FRONTEND=noninteractive "$@"
	' inside "$@"
}

# make_chroot RELEASE ROOT: one in which nothing is installed
make_chroot() {
	local script=/usr/share/debootstrap/scripts/$1 archive=${DTM_CHROOTS:+$DTM_CHROOTS/$1.tar}

	rm -rf "$2.new"
	if [ -n "$archive" ] && [ -e "$archive" ]; then
		mkdir "$2.new"
		tar -xf "$archive" -C "$2.new" || return 1
	else
		[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
		debootstrap --variant=minbase "$1" "$2.new" "$mirror" "$script" || return 1
		[ -z "$archive" ] || tar -cf "$archive" -C "$2.new" . || return 1
	fi
	cp /etc/resolv.conf "$2.new/etc/"
	cp /etc/apt/apt.conf.d/*proxy* "$2.new/etc/apt/apt.conf.d/" 2>/dev/null || true
	# a mirror may stand still
	echo 'Acquire::Check-Valid-Until "false";' >"$2.new/etc/apt/apt.conf.d/99dtm"
	# nothing of it has to survive a crash
	echo force-unsafe-io >"$2.new/etc/dpkg/dpkg.cfg.d/scratch"
	mv "$2.new" "$2"
}
