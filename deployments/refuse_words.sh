#!/usr/bin/env bash
# Prints what is wrong with a `make` command: an unknown target, or a variable that its target does not take. Prints nothing if the command is valid.
#
#   deployments/refuse_words.sh "<targets>" "<variables>" < Makefile
#
# A target takes the variables that are listed in brackets on its line of the Makefile.
exec awk -v targets="$1" -v variables="$2" '
function least(a, b) { return a < b ? a : b }
function distance(a, b,   i, j, row, old, up) {  # the Levenshtein distance
  for (j = 0; j <= length(b); j++) row[j] = j
  for (i = 1; i <= length(a); i++) {
    old = row[0]; row[0] = i
    for (j = 1; j <= length(b); j++) {
      up = row[j]
      row[j] = least(least(row[j] + 1, row[j - 1] + 1), old + (substr(a, i, 1) != substr(b, j, 1)))
      old = up
    }
  }
  return row[length(b)]
}
function nearest(word, allowed,   count, names, i, near, best) {
  count = split(allowed, names, " "); best = int(length(word) / 2) + 1
  for (i = 1; i <= count; i++) if (distance(toupper(word), toupper(names[i])) < best) { best = distance(toupper(word), toupper(names[i])); near = names[i] }
  return near == "" ? "" : " Did you mean " near "?"
}
/^[a-z-]+:.*## / {
  name = $0; sub(/:.*/, "", name); known = known " " name; rest = $0
  takes[name] = ""
  if (match(rest, /\[.*\]/)) {
    rest = substr(rest, RSTART, RLENGTH)
    while (match(rest, /[ \[][A-Z][A-Z_]*=/)) { takes[name] = takes[name] " " substr(rest, RSTART + 1, RLENGTH - 2); rest = substr(rest, RSTART + RLENGTH) }
  }
}
END {
  wanted = split(targets, goals, " "); given = split(variables, names, " ")
  for (i = 1; i <= wanted; i++) if (!(goals[i] in takes)) { print "Unknown target " goals[i] "." nearest(goals[i], known) " `make help` lists them"; exit }
  for (i = 1; i <= given; i++) {
    for (j = 1; j <= wanted; j++) {
      if (index(takes[goals[j]] " ", " " names[i] " ")) continue
      print "Unknown variable " names[i] " of make " goals[j] "." nearest(names[i], takes[goals[j]]) (takes[goals[j]] == "" ? " It takes none" : " Allowed:" takes[goals[j]])
      exit
    }
  }
}'
