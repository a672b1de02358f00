# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Sourced by the checks: what they look at, and how they say that they cannot.

# The files of the tree in $1 that match the patterns behind it: those under version control, or,
# in a tree without it, all but those of builds.
tree_files() { # ROOT PATTERN...
    local root=$1 path pattern found
    shift
    found=$(git -c safe.directory='*' -C "$root" ls-files --cached --others --exclude-standard \
        2>/dev/null)
    [ -n "$found" ] ||
        found=$(cd "$root" && find . -path './build*' -prune -o -type f -printf '%P\n')
    while IFS= read -r path; do
        for pattern in "$@"; do
            # shellcheck disable=SC2053 # a pattern is what it is
            [[ $path == $pattern && -f $root/$path ]] && printf '%s\n' "$root/$path" && break
        done
    done <<<"$found"
}

# The tests know 77 as "skipped".
need_program() { # NAME
    command -v "$1" >/dev/null && return
    echo "$1 is not there"
    exit 77
}
