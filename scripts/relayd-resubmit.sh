#!/bin/sh
#
# relayd-resubmit.sh [<spool>]
#
# Gives failed messages another chance: takes the ".bad" off every envelope that has failed fewer
# than five times, as its "X-MailRelay-Reason:" lines tell. So a message is tried five times in all.
# Says nothing when all is well. Exit status 1 when something could not be done.
#
# RELAYD_SPOOL      the spool, when no argument names it
# RELAYD_MAX_TRIES  how often a message is tried in all (5)
# RELAYD_ROOT       put before the default paths

set -u

name=${0##*/}
tries=${RELAYD_MAX_TRIES:-5}
spool=${1:-${RELAYD_SPOOL:-}}
if [ -z "$spool" ]; then
  spool=${RELAYD_ROOT:-}/var/spool/relayd
  [ -d "$spool" ] || [ ! -d "${RELAYD_ROOT:-}/var/spool/emailrelay" ] ||
    spool=${RELAYD_ROOT:-}/var/spool/emailrelay
fi
# A name that begins with a dash would be taken for an option.
case $spool in -*) spool=./$spool ;; esac

if [ ! -d "$spool" ]; then
  echo "$name: invalid spool directory" >&2
  exit 1
fi

# True when the message has a second envelope, in whatever state: a message never has two.
has_other_envelope() {
  for state in "" .new .busy; do
    [ -e "$1$state" ] || [ -L "$1$state" ] || continue
    return 0
  done
  return 1
}

status=0
# The pattern stays outside the quotes, or it would be taken for a file name.
for bad in "$spool"/*.envelope.bad; do
  # No file: the pattern itself. A link, a fifo or a directory: nothing that relayd made.
  if [ ! -f "$bad" ] || [ -L "$bad" ]; then continue; fi
  envelope=${bad%.bad}
  reasons=$(grep -c -E '^(X-)?MailRelay-Reason:' <"$bad")
  if [ $? -gt 1 ]; then
    echo "$name: cannot read ${bad##*/}" >&2
    status=1
    continue
  fi
  [ "$reasons" -lt "$tries" ] || continue
  if has_other_envelope "$envelope"; then
    echo "$name: cannot resubmit ${bad##*/}: the message has another envelope" >&2
    status=1
    continue
  fi
  # -n: if an envelope of that name appears this very moment, it is not replaced.
  if ! mv -n "$bad" "$envelope" 2>/dev/null && [ -e "$bad" ]; then
    echo "$name: cannot rename ${bad##*/}" >&2
    status=1
  fi
done
exit "$status"
