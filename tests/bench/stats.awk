# SPDX-License-Identifier: Apache-2.0
# stats.awk - medians and ranges of named rows of numbers; before a report's own program.

function sort_row(key,  i, j, v, n) {		# row[key, 1..count[key]], ascending
	n = count[key]
	for (i = 2; i <= n; i++) {
		v = row[key, i]
		for (j = i - 1; j > 0 && row[key, j] > v; j--)
			row[key, j + 1] = row[key, j]
		row[key, j + 1] = v
	}
}

function add(key, v) {
	row[key, ++count[key]] = v + 0
}

function mid(key,  n) {
	n = count[key]
	if (!n)
		return "-"
	return n % 2 ? row[key, (n + 1) / 2] : (row[key, n / 2] + row[key, n / 2 + 1]) / 2
}

function quantile(key, q,  i) {
	i = int(q * (count[key] - 1) + 1.5)
	return row[key, i]
}

function show(v) {
	return v == "-" ? v : sprintf(v >= 100 ? "%.0f" : "%.2f", v)
}

function holds(v, op, bound) {
	return op == ">=" ? v >= bound - 0.0005 : v <= bound + 0.0005
}

function sort_all(  key) {
	for (key in count)
		sort_row(key)
}

# "ratio >= 1.4" holds of the median of row[key]? "level": it misses the bound, but the middle 80 %
# of the rounds lie on both its sides.
function judge(key, rule,  f) {
	split(rule, f, " ")
	if (!count[key])
		return "-"
	if (holds(mid(key), f[2], f[3]))
		return "met"
	return holds(quantile(key, f[2] == ">=" ? 0.9 : 0.1), f[2], f[3]) ? "level" : "MISSED"
}
