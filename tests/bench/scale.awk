# SPDX-License-Identifier: Apache-2.0
# scale.awk - scale.sh's turns to medians, with stats.awk. In: "NAME ROUND STATE TRIP TRIP SWITCH
# VALUE SECOND CYCLES LOST".

BEGIN {
	rule["port-memory"] = "KB < 256"
	rule["pod-memory"] = "KB < 256"
	rule["idle-cpu"] = "% < 1"
	title["port-memory"] = "memory of a port without a pod"
	title["pod-memory"] = "memory of a port with an idle pod"
	title["idle-cpu"] = "CPU of 64 ports at rest, adaptive"
}

$1 in rule {
	if (!($1 in known))
		plain[++m] = $1
	known[$1] = 1
	add($1, $7)
	next
}

$3 != "mixed" && $10 <= 1 && $9 > 0 {
	if (!($1 in known))
		names[++n] = $1
	known[$1] = 1
	add("trip", $4); add("trip", $5)
	group = $1 SUBSEP $2 SUBSEP $3
	if (!(group in in_set))
		groups[++g] = group
	in_set[group] = $1
	turns[group, $6]++
	cycles[group, $6] += $9
}

function settle(  i, k, two, many) {
	for (i = 1; i <= g; i++) {
		k = groups[i]
		if (!turns[k, "two"] || !turns[k, "many"])
			continue
		two = cycles[k, "two"] / turns[k, "two"]
		many = cycles[k, "many"] / turns[k, "many"]
		add(in_set[k] " two", two)
		add(in_set[k] " many", many)
		add(in_set[k] " r", many / two)
	}
}

function object(name, unit, value, bound, v) {
	if (json != "")
		printf "%s{\"name\":\"%s\",\"unit\":\"%s\",\"value\":%g,\"wanted\":\"%s\"," \
			"\"verdict\":\"%s\"}", objects++ ? ",\n" : "[", name, unit, value, bound, v >json
}

END {
	settle()
	sort_all()
	printf "cores: round trip of a cache line %s ns (%s - %s)\n", show(mid("trip")),
		show(quantile("trip", 0)), show(quantile("trip", 1))
	for (i = 1; i <= n; i++) {
		k = names[i]
		v = judge(k " r", "ratio <= 1.15")
		printf "%-14s cycles a packet: 2 ports %s, 64 ports and 10,000 addresses %s: %s" \
			" (%.2f-%.2f)  ratio <= 1.15 %s\n", k, show(mid(k " two")), show(mid(k " many")),
			show(mid(k " r")), quantile(k " r", 0.1), quantile(k " r", 0.9), v
		object(k, "ratio", mid(k " r"), "<= 1.15", v)
	}
	for (i = 1; i <= m; i++) {
		k = plain[i]
		split(rule[k], f, " ")
		v = mid(k) < f[3] ? "met" : "MISSED"
		printf "%-14s %s: %s %s  < %s %s\n", k, title[k], show(mid(k)), f[1], f[3], v
		object(k, f[1], mid(k), "< " f[3], v)
	}
	if (json != "")
		print (objects ? "" : "[") "]" >json
}
