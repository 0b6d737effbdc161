# Of what lcov writes, a row for each folder and one for all: how many lines and branches, and how many of them the tests reach.
/^SF:/ {
	folder = $0
	sub(/\/[^\/]*$/, "", folder)
	sub(/.*\//, "", folder)
	if (!(folder in lines))
		order[++folders] = folder
}
/^LF:/ { count(lines) }
/^LH:/ { count(lines_hit) }
/^BRF:/ { count(branches) }
/^BRH:/ { count(branches_hit) }

function count(what, n)
{
	n = $0
	sub(/.*:/, "", n)
	what[folder] += n
	what["all"] += n
}

function row(name)
{
	printf "%-8s %8d %6.1f %% %8d %6.1f %%\n", name, lines[name], 100 * lines_hit[name] / lines[name],
		branches[name], 100 * branches_hit[name] / branches[name]
}

END {
	printf "%-8s %8s %8s %8s %8s\n", "folder", "lines", "reached", "branches", "reached"
	for (i = 1; i <= folders; i++)
		row(order[i])
	row("all")
}
