# Sourced by the scripts beside it: how long steps are shown.

# help_asked ARGUMENT...: prints the comment at the head of the script where the first argument asks
# for help.
help_asked() {
  case ${1:-} in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" ;;
    *) return 1 ;;
  esac
}

# step WHAT COMMAND...: runs the command and says what is being done and how long it took. On a
# terminal the command's own progress is seen. Otherwise its output is kept back, a line now and
# then tells that it goes on, and all of it is shown where the command fails.
step() {
  local what=$1 began=$SECONDS status=0 log beat
  shift
  printf '%s: %s\n' "${0##*/}" "$what" >&2
  if [ -t 2 ]; then
    "$@" >&2 || return
  else
    log=$(mktemp)
    heartbeat "$log" "$began" &
    beat=$!
    "$@" >"$log" 2>&1 || status=$?
    kill "$beat" 2>/dev/null || true
    wait "$beat" 2>/dev/null || true
    [ "$status" = 0 ] || cat "$log" >&2
    rm -f "$log"
    [ "$status" = 0 ] || return "$status"
  fi
  [ $((SECONDS - began)) -lt 2 ] || printf '%s: done in %s s\n' "${0##*/}" $((SECONDS - began)) >&2
}

# heartbeat LOG BEGAN: every half minute the last line of the log, until the script is gone.
heartbeat() {
  local second=0
  while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    second=$((second + 1))
    [ $((second % 30)) -ne 0 ] || printf '%s:   %s s: %.100s\n' "${0##*/}" $((SECONDS - $2)) \
      "$(tail -n 1 "$1" | tr -d '\r')" >&2
  done
}
