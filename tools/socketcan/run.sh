#!/bin/sh
# Runs a program in a Linux kernel that has CAN: Debian's user-mode-linux, on this machine's own files.
#   tools/socketcan/run.sh [PROGRAM]      default: the check beside this file, by the project's interpreter
# Needs, on Debian: apt-get install --no-install-recommends user-mode-linux can-utils kmod iproute2
# Ends with 0 if the program did, with 77 where there is no such kernel or it cannot run on this processor. Two seconds go to starting and stopping the kernel.
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
program=${1:-"$project/.venv/bin/python $here/check.py"}
command -v linux.uml >/dev/null || { echo "no linux.uml: apt-get install user-mode-linux can-utils kmod iproute2" >&2; exit 77; }
said=$(mktemp)
trap 'rm -f "$said"' EXIT
# The kernel splits its command line at blanks; the inner quotes keep the program in one piece.
timeout -k 2 "${LIMIT_S:-120}" linux.uml mem=256M root=/dev/root rootfstype=hostfs rootflags=/ rw quiet \
    init="$here/init.sh" con=null con0=null,fd:1 "PROJECT=$project" "PROGRAM=\"$program\"" </dev/null >"$said" 2>&1
cat "$said"
# Debian's 6.1 has no room for the registers of processors with AMX: its first process cannot start.
if grep -q "ptrace set fp regs failed" "$said"; then echo "user-mode Linux cannot keep this processor's registers" >&2; exit 77; fi
grep -q "^status 0" "$said"
