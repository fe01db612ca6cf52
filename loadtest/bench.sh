#!/usr/bin/env bash
# What a message costs: Martlet's processor time per message beside that of the bare C server in floor/, measured by
# martlet-load in the same run, the two in turn for several rounds, so that a machine that gets slower or faster
# meanwhile changes both. Called by `make bench`; both servers run one loop and are ended by their process id.
#
# usage: bench.sh BIN-DIRECTORY OUTPUT-DIRECTORY     ROUNDS=5 SECONDS_EACH=3 MEMBERS=1000
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=$1
out=$2
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-3}
members=${MEMBERS:-1000}
mkdir -p "$out/raw"

cc -O2 -Wall -Wextra -pthread -o "$out/floor" loadtest/floor/floor.c

pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
}
trap finish EXIT

# start NAME COMMAND...: runs a server and waits for its "listening on HOST:PORT" (text) or "listen.port" (JSON).
declare -A port_of pid_of
start() {
    local name=$1 log="$out/$1.log" port=""
    shift
    # Emptied here, not by the background job: what an earlier run wrote must not be read as this one's.
    : >"$log"
    "$@" >>"$log" 2>&1 &
    pids+=($!)
    pid_of[$name]=$!
    for _ in $(seq 100); do
        port=$(sed -nE -e 's/.*listening on [^ "]*:([0-9]+).*/\1/p' \
            -e 's/.*"listen\.port": ?"?([0-9]+).*/\1/p' "$log" | head -1)
        [ -n "$port" ] && break
        kill -0 "${pid_of[$name]}" 2>/dev/null || break
        sleep 0.1
    done
    if [ -z "$port" ]; then
        echo "bench: $name does not listen:" >&2
        cat "$log" >&2
        exit 1
    fi
    port_of[$name]=$port
}

# Echo on, the command limit of a connection off: a closed loop with 16 in flight is faster than any person.
echo '{"echo": true, "client": {"rate": "0"}}' >"$out/martlet.json"
"$bin/martlet" check-config --config "$out/martlet.json" >/dev/null 2>&1 || echo '{"echo": true}' >"$out/martlet.json"

start floor "$out/floor" 0 1
start martlet "$bin/martlet" serve --insecure --loops 1 --port 0 --admin-port 0 --config "$out/martlet.json"

# NAME | subcommand and options; the same for both servers.
cases=(
    "echo, 1 in flight|echo --connections 64 --bytes 20 --window 1"
    "echo, 16 in flight|echo --connections 64 --bytes 20 --window 16"
    "room x $members, 1 in flight|fanout --members $members --bytes 128 --window 1"
    "room x $members, 16 in flight|fanout --members $members --bytes 128 --window 16"
)

value() { awk -F': ' -v key="\"$1\"" '{ sub(/^ +/, "") } $1 == key { gsub(/,$/, "", $2); print $2; exit }' "$2"; }

# measure SERVER CASE-NUMBER ROUND OPTIONS...: prints microseconds of server time per message.
measure() {
    local server=$1 report="$out/raw/$1-$2-$3.json"
    shift 3
    if ! "$bin/martlet-load" "$@" --protocol "$server" --target "127.0.0.1:${port_of[$server]}" --seconds "$seconds" \
        --pid "${pid_of[$server]}" --quiet --json "$report" >"$report.txt"; then
        cat "$report.txt" >&2
        exit 1
    fi
    value server_us_per_message "$report"
}

median() {
    printf '%s\n' "$@" | sort -n |
        awk '{ v[NR] = $1 } END { m = int((NR + 1) / 2); print NR % 2 ? v[m] : (v[m] + v[m + 1]) / 2 }'
}

# Stripped-down JSON by hand: names and numbers only.
rows=() tables=()
printf '%-28s %12s %12s %8s   %s\n' \
    "server CPU per message" "floor, µs" "martlet, µs" "ratio" "($rounds rounds, medians)"
for index in "${!cases[@]}"; do
    name=${cases[index]%%|*}
    read -ra options <<<"${cases[index]#*|}"
    floor=() martlet=() ratios=()
    for round in $(seq "$rounds"); do
        # Assignments of their own, so that a run that fails ends the script.
        figure=$(measure floor "$index" "$round" "${options[@]}")
        floor+=("$figure")
        figure=$(measure martlet "$index" "$round" "${options[@]}")
        martlet+=("$figure")
        ratios+=("$(awk -v a="${martlet[-1]}" -v b="${floor[-1]}" 'BEGIN { printf "%.3f", (b > 0 ? a / b : 0) }')")
    done
    a=$(median "${floor[@]}") b=$(median "${martlet[@]}") ratio=$(median "${ratios[@]}")
    printf '%-28s %12.3f %12.3f %8.2f\n' "$name" "$a" "$b" "$ratio"
    tables+=("| ${name/ x / × } | $(printf '%.2f | %.2f | %.2f |' "$a" "$b" "$ratio")")
    join() { local IFS=,; echo "$*"; }
    rows+=("    {\"case\": \"$name\", \"command\": \"martlet-load ${options[*]}\",
     \"floor_us\": [$(join "${floor[@]}")], \"martlet_us\": [$(join "${martlet[@]}")],
     \"ratios\": [$(join "${ratios[@]}")],
     \"floor_median_us\": $a, \"martlet_median_us\": $b, \"ratio_median\": $ratio}")
done

first=("$out"/raw/martlet-0-1.json)
report="$out/bench-$(date +%Y%m%dT%H%M%S).json"
{
    echo '{'
    echo "  \"commit\": $(value commit "${first[0]}"), \"processor\": $(value processor "${first[0]}"),"
    echo "  \"cores\": $(value cores "${first[0]}"), \"kernel\": $(value kernel "${first[0]}"), \"rounds\": $rounds,"
    echo '  "cases": ['
    for index in "${!rows[@]}"; do
        [ "$index" -lt $((${#rows[@]} - 1)) ] && echo "${rows[index]}," || echo "${rows[index]}"
    done
    echo '  ]'
    echo '}'
} >"$report"
# The same table for the documents.
{
    echo '| server CPU per message | bare C server, µs | Martlet, µs | ratio |'
    echo '|---|---|---|---|'
    printf '%s\n' "${tables[@]}"
} >"$out/table.md"
echo "written: $report, $out/table.md, every run's report in $out/raw"
