# SPDX-License-Identifier: Apache-2.0
# tap.sh - verdict lines for test scripts; source it first. Needs nothing but a POSIX shell.
#
# Gives ROOT, B (absolute), PODPCI, LIB and T, a directory that is gone when the script ends.

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-build}
case $B in /*) ;; *) B=$ROOT/$B ;; esac
PODPCI=${PODPCI:-$B/bin/podpci}
LIB=${LIB:-$B/lib/libpodpci.so}
T=$(mktemp -d "${TMPDIR:-/tmp}/podpci.XXXXXX") || exit 1
chmod 755 "$T"
trap 'rm -rf "$T"' EXIT
trap 'exit 143' INT TERM HUP
FAILED=0

skip_all() {	# REASON...
	echo "skip $(basename "$0" .sh) $*"
	exit 77
}

need() {	# TOOL...
	for tool; do
		command -v "$tool" >/dev/null || skip_all "$tool is not installed"
	done
}

# check NAME COMMAND...: what the command says is shown only if it fails
check() {
	check_name=$1
	shift
	"$@" >"$T/check.log" 2>&1
	check_rc=$?
	if [ $check_rc -eq 0 ]; then
		echo "ok $check_name"
	else
		echo "not ok $check_name"
		echo "# status $check_rc of: $*"
		tail -n 25 "$T/check.log" | cut -c1-300 | sed 's/^/# /'
		FAILED=1
	fi
}

# same WHAT GOT WANT
same() {
	[ "$2" = "$3" ] && return
	printf '%s is:\n%s\nand should be:\n%s\n' "$1" "$2" "$3"
	return 1
}

# has TEXT PATTERN: an extended regular expression matches somewhere in the text
has() {
	printf '%s\n' "$1" | grep -qE -e "$2" && return
	printf 'no "%s" in:\n%s\n' "$2" "$1"
	return 1
}

has_not() {
	printf '%s\n' "$1" | grep -qE -e "$2" || return 0
	printf '"%s" is in:\n%s\n' "$2" "$1"
	return 1
}

# run COMMAND...: fills OUT, ERR and RC
run() {
	"$@" >"$T/out" 2>"$T/err" </dev/null
	RC=$?
	OUT=$(cat "$T/out") ERR=$(cat "$T/err")
}

# ran_clean: status 0 and not a word on stderr
ran_clean() {
	same status "$RC" 0 && same stderr "$ERR" ""
}

finish() {
	exit $FAILED
}
