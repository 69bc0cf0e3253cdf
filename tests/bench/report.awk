# SPDX-License-Identifier: Apache-2.0
# report.awk - the device's rounds to medians, with stats.awk. In: "NAME STATE TRIP TRIP A A B B
# DISTURBED", A the reference, B ours. The file is read twice: a measurement with enough quiet rounds shows only those.

function limit(name,  base) {
	base = name
	sub(/-.*/, "", base)
	return base in most ? most[base] : ""
}

BEGIN {
	disturbed_max = 1	# times somebody lost a core in a round that counts as quiet
	quiet_min = 5
	# what must hold: of the ratio B / A, or (with "d") of the difference B - A
	most["echo32"] = most["echo128"] = most["tx"] = most["rx"] = "ratio >= 1.00"
	most["rtt"] = "ratio <= 1.02"
	most["trap"] = "ratio <= 1.15"
	most["pread"] = "ours <= 30"
	most["foreign"] = "added <= 20"
	most["start"] = "added <= 50000"
	most["rss"] = "added <= 1024"
	unit["echo32"] = unit["echo128"] = unit["tx"] = unit["rx"] = "Mpps"
	unit["rtt"] = unit["trap"] = unit["pread"] = unit["foreign"] = "ns"
	unit["start"] = "us"
	unit["rss"] = "KB"
}

# Somebody took a core, or the cores moved in mid round.
function is_disturbed() {
	return $9 > disturbed_max || $2 == "mixed"
}

NR == FNR {
	quiet[$1] += !is_disturbed()
	next
}

{
	if (!($1 in known)) {
		known[$1] = 1
		names[++n] = $1
	}
	rounds++
	if (is_disturbed()) {
		disturbed++
		if (quiet[$1] >= quiet_min)
			next
		busy[$1] = 1
	}
	a = ($5 + $6) / 2
	b = ($7 + $8) / 2
	if (a <= 0)
		next
	add($1 " a", a); add($1 " b", b); add($1 " r", b / a); add($1 " d", b - a)
	if ($2 != "-") {
		add($1 " " $2 " a", a); add($1 " " $2 " b", b); add($1 " " $2 " r", b / a)
		trips[$2]++
		add("trip", $3); add("trip", $4)
	}
}

function verdict(name, rule) {
	return judge(name (rule ~ /^ratio/ ? " r" : rule ~ /^added/ ? " d" : " b"), rule)
}

END {
	sort_all()
	printf "cores: round trip of a cache line %s ns (%s - %s); ", show(mid("trip")),
		show(quantile("trip", 0)), show(quantile("trip", 1))
	printf "rounds near %d, far %d; %d of %d disturbed\n", trips["near"], trips["far"],
		disturbed, rounds
	printf "%-15s %5s %12s %10s %7s %15s %14s %14s  %s\n", "", "", "virtio-user", "podpci",
		"ratio", "10-90 %", "near a/b", "far a/b", "wanted"
	for (i = 1; i <= n; i++) {
		m = names[i]
		base = m
		sub(/-.*/, "", base)
		rule = limit(m)
		printf "%-15s %5s %12s %10s %7.3f %7.3f-%7.3f %14s %14s  %-18s %s%s\n", m, unit[base],
			show(mid(m " a")), show(mid(m " b")), mid(m " r"), quantile(m " r", 0.1),
			quantile(m " r", 0.9), pair(m, "near"), pair(m, "far"), rule,
			rule == "" ? "" : verdict(m, rule), m in busy ? " (disturbed)" : ""
		if (json != "")
			printf "%s{\"name\":\"%s\",\"unit\":\"%s\",\"reference\":%g,\"podpci\":%g," \
				"\"ratio\":%g,\"p10\":%g,\"p90\":%g,\"rounds\":%d,\"wanted\":\"%s\"," \
				"\"verdict\":\"%s\"}", i == 1 ? "[" : ",\n", m, unit[base], mid(m " a"),
				mid(m " b"), mid(m " r"), quantile(m " r", 0.1), quantile(m " r", 0.9),
				count[m " r"], rule, rule == "" ? "" : verdict(m, rule) >json
	}
	if (json != "")
		print "]" >json
	print "ratio: ours / reference in each A B B A round; registers and foreign calls are measured" \
		"\nagainst an empty SIGSEGV handler and libc; near and far: medians of that state only;" \
		"\nlevel: the median misses, but by less than the rounds differ among themselves."
}

function pair(m, s) {
	return count[m " " s " a"] ? show(mid(m " " s " a")) "/" show(mid(m " " s " b")) : "-"
}
