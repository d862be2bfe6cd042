#!/usr/bin/env bash
# Runs make targets one after the other, and another one beside them:
#
#   beside.sh TARGET -- TARGET...
#
# The one beside is to be the one that leaves processors idle. What it prints is
# kept and printed whole at the end, so that no lines are mixed. The first target
# that fails ends the others, and is the last that is told of.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
{ [ $# -ge 3 ] && [ "$2" = -- ]; } || die "usage: beside.sh TARGET -- TARGET..."
beside=$1
shift 2

log=$(mktemp "${TMPDIR:-/tmp}/sluice-beside-XXXXXX")
pid=
# shellcheck disable=SC2329 # called by the trap
cleanup() {
	end
	rm -f "$log"
}
# end interrupts the target beside and all that it has started, as a terminal does,
# and waits: what it runs takes away what it has made.
end() {
	[ -n "$pid" ] || return 0
	kill -INT -- "-$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	pid=
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

begin=$SECONDS
took() { printf '%d:%02d' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

# A process group of its own, to end it as a whole.
set -m
# Others first: they have deadlines of this machine's, it has those of a slow one.
nice -n 2 "${MAKE:-make}" --no-print-directory "$beside" >"$log" 2>&1 </dev/null &
pid=$!
set +m

# show prints what the target beside has said, once it has ended, and how it did.
show() {
	local status=0
	wait "$pid" || status=$?
	pid=
	echo "==> make $beside, beside the others:"
	cat "$log"
	echo "==> make $beside: ended with $status after $(took $begin) at most"
	return $status
}

for target; do
	from=$SECONDS
	status=0
	"${MAKE:-make}" --no-print-directory "$target" || status=$?
	echo "==> make $target: ended with $status after $(took $from)"
	[ $status -eq 0 ] || exit $status
	# No need to go on if it has failed already.
	if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
		show
	fi
done
[ -z "$pid" ] || show
