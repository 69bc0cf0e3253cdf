# SPDX-License-Identifier: Apache-2.0
# join.awk - tables of rows and the verdicts of tests become one report; see conformance.sh.
#
# Verdicts are lines of three fields: ok, not ok or skip; the program; the name of the test.
# A row has a state: passed, failed, na, untested. Section 0 of the arrays is the total, in which
# known cases do not count: their rows do.

FILENAME ~ /\.txt$/ && (/^#/ || NF == 0) { next }

FILENAME ~ /\.txt$/ && $1 == "section" {
	s = ++sections
	sec_id[s] = $2
	sub(/^section [^ ]* /, "")
	title[s] = $0
	next
}

# case IDS NAME
FILENAME ~ /\.txt$/ && $1 == "case" {
	r = ++rows
	of[r] = s
	needs[r] = $2
	sub(/^case [^ ]* /, "")
	id[r] = $0
	next
}

FILENAME ~ /\.txt$/ {
	r = ++rows
	of[r] = s
	id[r] = $1
	row[$1] = r
	if ($4 == "n/a") {
		why[r] = $0
		sub(/^.* n\/a /, "", why[r])
	}
	next
}

/^(ok|not ok|skip)\t/ {
	split($0, v, "\t")
	k = ids_of(v[3], mine)
	for (i = 1; i <= k; i++) {
		r = row[mine[i]]
		if (!r) {
			print "not ok " v[2] ": no list has a row " mine[i] >"/dev/stderr"
			unknown = 1
			continue
		}
		if (v[1] == "ok")
			ok[r]++
		else if (v[1] == "not ok")
			failed_by[r] = failed_by[r] (failed_by[r] ? ", " : "") v[2]
		else
			skipped_by[r] = v[2]
	}
}

function own_state(r) {
	return failed_by[r] ? "failed" : ok[r] ? "passed" : (r in why) ? "na" : "untested"
}

function case_state(r,    k, i, part, seen) {
	k = split(needs[r], part, ",")
	for (i = 1; i <= k; i++)
		seen[own_state(row[part[i]])] = 1
	if (!seen["failed"] && !seen["untested"] && !seen["passed"])
		why[r] = "as its rows"
	return seen["failed"] ? "failed" : seen["untested"] ? "untested" : seen["passed"] ? \
		"passed" : "na"
}

function quoted(t) {
	gsub(/[\\"]/, "\\\\&", t)
	return "\"" t "\""
}

# The rows of a section in a state, each with what there is to say of it.
function each(sec, st, form,    r, out, word) {
	for (r = 1; r <= rows; r++) {
		if (of[r] != sec || state[r] != st)
			continue
		word = st == "na" ? why[r] : st == "failed" ? failed_by[r] : ""
		if (form == "json" && st == "na")
			out = out (out ? ", " : "") "{\"row\": " quoted(id[r]) ", \"reason\": " \
				quoted(word) "}"
		else if (form == "json")
			out = out (out ? ", " : "") quoted(id[r])
		else if (word != "")
			out = out sprintf("      %-9s %s: %s\n", st == "na" ? "n/a" : st, id[r], word)
		else
			out = out (out ? ((r in needs) ? "; " : ", ") : "") id[r] \
				(skipped_by[r] ? " (skipped in " skipped_by[r] ")" : "")
	}
	return out
}

function shown(s) {
	return index(lists, substr(sec_id[s], 1, 1)) > 0
}

function numbers(s) {
	return sprintf("%5d %7d %7d %7d %5d %9d", n[s, "row"], n[s, "passed"] + n[s, "failed"],
		n[s, "passed"], n[s, "failed"], n[s, "na"], n[s, "untested"])
}

function print_text(    s, list, t) {
	printf "%-45s%5s %7s %7s %7s %5s %9s\n", "", "rows", "tested", "passed", "failed", "n/a",
		"untested"
	for (s = 1; s <= sections; s++) {
		if (!shown(s))
			continue
		t = title[s]
		if (length(t) > 39)
			t = substr(t, 1, 36) "..."
		printf "%-4s %-40s%s\n", sec_id[s], t, numbers(s)
		if (!verbose)
			continue
		printf "%s%s", each(s, "failed"), each(s, "na")
		if (n[s, "untested"])
			print "      untested  " each(s, "untested")
	}
	printf "%-45s%s\n", "total", numbers(0)
}

function print_numbers_json(s) {
	printf "\"rows\": %d, \"tested\": %d, \"passed\": %d, ", n[s, "row"],
		n[s, "passed"] + n[s, "failed"], n[s, "passed"]
}

function print_json(    s, last) {
	print "{\"sections\": ["
	for (s = 1; s <= sections; s++) {
		if (!shown(s))
			continue
		printf "%s{\"section\": %s, \"title\": %s, ", last, quoted(sec_id[s]), \
			quoted(title[s])
		print_numbers_json(s)
		printf "\"failed\": [%s], ", each(s, "failed", "json")
		printf "\"not_applicable\": [%s], ", each(s, "na", "json")
		printf "\"untested\": [%s]}", each(s, "untested", "json")
		last = ",\n"
	}
	printf "\n], \"total\": {"
	print_numbers_json(0)
	printf "\"failed\": %d, \"not_applicable\": %d, \"untested\": %d}}\n", n[0, "failed"],
		n[0, "na"], n[0, "untested"]
}

END {
	for (r = 1; r <= rows; r++) {
		state[r] = (r in needs) ? case_state(r) : own_state(r)
		n[of[r], "row"]++
		n[of[r], state[r]]++
		if ((r in needs) || !shown(of[r]))
			continue
		n[0, "row"]++
		n[0, state[r]]++
	}
	if (json)
		print_json()
	else
		print_text()
	exit n[0, "failed"] > 0 || unknown
}
