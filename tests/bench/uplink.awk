# SPDX-License-Identifier: Apache-2.0
# uplink.awk - switch_uplink's turns to medians, with stats.awk. In: "BYTES copies LANE READ" and
# "BYTES pods FOUR ONE", ns a frame.

BEGIN {
	rule["copies", 64] = "ratio >= 1.3"
	rule["copies", 1500] = rule["copies", 60000] = "ratio >= 1.2"
	rule["pods", 64] = "ratio >= 0.9"
	label["copies"] = "read and copied / straight"
	label["pods"] = "one pod / four pods"
}

{
	key = $2 " " $1
	if (!(key in known)) {
		known[key] = 1
		names[++n] = key
	}
	add(key " a", $4)
	add(key " b", $3)
	add(key " r", $4 / $3)
}

END {
	sort_all()
	for (i = 1; i <= n; i++) {
		key = names[i]
		split(key, f, " ")
		want = rule[f[1], f[2]]
		v = want == "" ? "" : judge(key " r", want)
		printf "%6d B  %-28s %8s %8s ns a frame (%.0f %.0f kpps)  %.2f (%.2f-%.2f)  %s %s\n",
			f[2], label[f[1]], show(mid(key " a")), show(mid(key " b")),
			1e6 / mid(key " a"), 1e6 / mid(key " b"), mid(key " r"),
			quantile(key " r", 0.1), quantile(key " r", 0.9), want, v
		if (json != "")
			printf "%s{\"name\":\"%s-%s\",\"unit\":\"ns\",\"reference\":%g,\"podpci\":%g," \
				"\"ratio\":%g,\"p10\":%g,\"p90\":%g,\"rounds\":%d,\"wanted\":\"%s\"," \
				"\"verdict\":\"%s\"}", i == 1 ? "[" : ",\n", f[1], f[2], mid(key " a"),
				mid(key " b"), mid(key " r"), quantile(key " r", 0.1),
				quantile(key " r", 0.9), count[key " r"], want, v >json
	}
	if (json != "")
		print "]" >json
	print "straight: the kernel's copy into the pod's buffer is the only one (io_uring, 32 reads a call," \
		"\nthe pod's memory registered). read and copied: a read() a frame, then a copy to the pod."
}
