#!/bin/sh
# A bootloader-custom-backend to begin with: one file for each slot, and one for the primary.
#
# It keeps its state in files, so it is of use only for a bootloader that reads such files, or as the
# frame for your own commands. Each change is one rename: old or new, never half.
set -eu

STATE=${STATE:-/boot/slots}

put() { # FILE CONTENT: durable when it returns
    printf '%s\n' "$2" >"$STATE/$1.new"
    sync "$STATE/$1.new"
    mv "$STATE/$1.new" "$STATE/$1"
    sync "$STATE"
}

case "${1:-}" in
get-primary)
    cat "$STATE/primary"
    ;;
set-primary)
    # Startable first, next last: the second rename is the commit point.
    put "state.$2" trial
    put primary "$2"
    ;;
get-state)
    state=$(cat "$STATE/state.$2" 2>/dev/null || echo bad)
    # RAUC knows two words only.
    if [ "$state" = trial ] && [ -z "${SLOTMGR_PROTOCOL:-}" ]; then state=good; fi
    echo "$state"
    ;;
set-state)
    put "state.$2" "$3"
    ;;
get-current)
    sed -n 's/.*\<rauc\.slot=\([^ ]*\).*/\1/p' /proc/cmdline
    ;;
*)
    echo "unknown verb '${1:-}'" >&2
    exit 1
    ;;
esac
