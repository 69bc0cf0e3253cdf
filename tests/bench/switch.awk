# SPDX-License-Identifier: Apache-2.0
# switch.awk - switch.sh's turns to medians and ratios, with stats.awk. In: "NAME ROUND STATE TRIP
# TRIP SWITCH VALUE SECOND CYCLES LOST". A measurement with enough calm turns shows only those.

BEGIN {
	lost_max = 1		# times somebody took a core in a turn that counts as quiet
	quiet_min = 5
	# what must hold of podpci's ratio to testpmd (b) and to OVS (a)
	want["pps64", "testpmd"] = "ratio >= 1.4"
	want["pps64", "ovs"] = "ratio >= 2.0"
	want["pps1500", "testpmd"] = "ratio >= 1.5"
	want["rtt", "testpmd"] = "ratio <= 1.0"
	want["cycles", "testpmd"] = "ratio <= 0.6"
	want["cycles", "ovs"] = "ratio <= 0.5"
	split("podpci testpmd ovs memif", who)
}

# A turn that somebody disturbed, or in which the cores moved.
{
	if (!($1 in known)) {
		known[$1] = 1
		names[++n] = $1
	}
	calm = $3 != "mixed" && $10 <= lost_max
	turns++
	disturbed += !calm
	trips[$3]++
	add("trip", $4); add("trip", $5)
	if (calm)
		take($1, $1 SUBSEP $2 SUBSEP $3)
	take($1 " all", $1 SUBSEP $2 SUBSEP "any")
}

# Sums of a round's turns in one state of the cores, by switch.
function take(set, group) {
	if (!(group in in_set)) {
		in_set[group] = set
		groups[++ngroups] = group
	}
	turns_of[group, $6]++
	first[group, $6] += $7
	second[group, $6] += $8
	third[group, $6] += $9
	pairs[set] += turns_of[group, "podpci"] == 1 && turns_of[group, "testpmd"] == 1
}

# Only calm turns count, and only pairs in the same state, if there are enough of them.
function settle(  i, g, f, base) {
	for (i = 1; i <= ngroups; i++) {
		g = groups[i]
		split(g, f, SUBSEP)
		if ((f[3] == "any") != (pairs[f[1]] < quiet_min))
			continue
		if (f[3] == "any")
			busy[f[1]] = 1
		base = f[1]
		sub(/-.*/, "", base)
		note(f[1], f[3], "value", first, g)
		note(f[1], f[3], base == "rtt" ? "p99" : "idle", second, g)
		if (base ~ /^pps/)
			note(f[1], f[3], "cycles", third, g)
	}
}

function note(name, state, what, sums, g,  i, v, ours, key) {
	key = name " " what
	for (i = 1; i <= 4; i++) {
		if (!turns_of[g, who[i]])
			continue
		v = sums[g, who[i]] / turns_of[g, who[i]]
		add(key " " who[i], v)
		if (state != "any")
			add(key " " who[i] " " state, v)
		if (i == 1)
			ours = v
		else if (ours > 0 && v > 0)
			add(key " /" who[i], ours / v)
	}
}

function ratio(key, peer,  k) {
	k = key " /" peer
	return count[k] ? sprintf("%.2f (%.2f-%.2f)", mid(k), quantile(k, 0.1), quantile(k, 0.9)) : "-"
}

function states(key,  i, s, out, part) {
	for (s = 1; s <= 2; s++) {
		part = ""
		for (i = 1; i <= 3; i++)
			part = part (i > 1 ? "/" : "") show(mid(key " " who[i] " " (s == 1 ? "near" : "far")))
		out = out sprintf("  %18s", part == "-/-/-" ? "-" : part)
	}
	return out
}

# A rate that misses is no verdict on the switch if the pods had no time left.
function verdicts(m, what, base,  i, rule, v, out) {
	for (i = 2; i <= 3; i++) {
		rule = want[what == "value" ? base : what, who[i]]
		if (rule == "" || !count[m " " what " /" who[i]])
			continue
		v = judge(m " " what " /" who[i], rule)
		if (v != "met" && what == "value" && base ~ /^pps/ && mid(m " idle podpci") < 5)
			v = "pods' core is full"
		sub(/ratio /, "", rule)
		out = out (out == "" ? "" : ", ") who[i] " " rule " " v
		rules[m, what, who[i]] = rule " " v
	}
	return out
}

function line(m, what, title, unit, base,  i, key) {
	key = m " " what
	if (!count[key " podpci"])
		return
	printf "%-14s %-11s %8s %8s %8s  %-18s %-18s%s  %s\n", title, unit, show(mid(key " podpci")),
		show(mid(key " testpmd")), show(mid(key " ovs")), ratio(key, "testpmd"),
		ratio(key, "ovs"), states(key), verdicts(m, what, base) (m in busy ? " (disturbed)" : "")
	for (i = 2; i <= 3; i++)
		if (json != "" && count[key " /" who[i]])
			printf "%s{\"name\":\"%s\",\"what\":\"%s\",\"unit\":\"%s\",\"peer\":\"%s\"," \
				"\"podpci\":%g,\"reference\":%g,\"ratio\":%g,\"p10\":%g,\"p90\":%g," \
				"\"rounds\":%d,\"wanted\":\"%s\"}", objects++ ? ",\n" : "[", m, what, unit,
				who[i], mid(key " podpci"), mid(key " " who[i]), mid(key " /" who[i]),
				quantile(key " /" who[i], 0.1), quantile(key " /" who[i], 0.9),
				count[key " /" who[i]], rules[m, what, who[i]] >json
}

END {
	settle()
	sort_all()
	printf "cores: round trip of a cache line %s ns (%s - %s); ", show(mid("trip")),
		show(quantile("trip", 0)), show(quantile("trip", 1))
	printf "turns near %d, far %d; %d of %d disturbed\n", trips["near"], trips["far"],
		disturbed, turns
	printf "%-14s %-11s %8s %8s %8s  %-18s %-18s  %18s  %18s  %s\n", "", "", "podpci", "testpmd",
		"OVS", "/ testpmd", "/ OVS", "near p/t/o", "far p/t/o", "wanted"
	for (i = 1; i <= n; i++) {
		m = names[i]
		base = m
		sub(/-.*/, "", base)
		line(m, "value", m, base == "rtt" ? "ns" : "Mpps", base)
		line(m, "cycles", "", "cycles", base)
		line(m, "idle", "", "pods idle %", base)
		line(m, "p99", "", "ns 99 %", base)
		if (count[m " value memif"])
			printf "%-14s %-11s %8s (%s - %s), a pod on each core and no switch\n", m, "Mpps",
				show(mid(m " value memif")), show(quantile(m " value memif", 0.1)),
				show(quantile(m " value memif", 0.9))
	}
	if (json != "")
		print (objects ? "" : "[") "]" >json
	print "Mpps: frames that crossed the switch, both ways together. cycles: busy TSC cycles a frame in" \
		"\nthe switch. rtt: one frame from pod to pod. Ratios: podpci / peer, within a round and a" \
		"\nstate of the cores; median and the middle 80 %. near, far: medians of that state only."
}
