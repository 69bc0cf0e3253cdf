# SPDX-License-Identifier: Apache-2.0
# ids.awk - the ids a test's name begins with.
#
# "A-NT-01..03,05, A-CC-16 notify covers all queues" is of four rows of A4 and one of A3.

# Fills id[1..n] and returns n.
function ids_of(name, id,    n, prefix, k, last) {
	n = 0
	while (match(name, /^[ABCD]-[A-Z]+-[0-9]+/)) {
		prefix = substr(name, 1, RLENGTH)
		sub(/[0-9]+$/, "", prefix)
		name = "," substr(name, length(prefix) + 1)
		while (match(name, /^(,|\.\.)[0-9]+/)) {
			last = substr(name, 1, RLENGTH)
			name = substr(name, RLENGTH + 1)
			k = last ~ /^,/ ? substr(last, 2) - 1 : substr(id[n], length(prefix) + 1)
			gsub(/[^0-9]/, "", last)
			while (++k <= last + 0)
				id[++n] = sprintf("%s%02d", prefix, k)
		}
		sub(/^[, ]+/, "", name)
	}
	return n
}
