# shellcheck shell=sh
#
# /etc/profile.d/relayd-profile.sh: says at login that there is mail which could not be delivered.
# Read by every login shell, so: one look at one directory, no variable left behind, no word unless
# somebody sits there who may read the spool and there is something to say.
#
# RELAYD_ROOT  put before the paths

case $- in
*i*)
  (
    # zsh stops at a pattern that matches nothing, unless it is told to be a plain shell.
    # shellcheck disable=SC3044
    [ -z "${ZSH_VERSION:-}" ] || emulate sh
    set +u +e +f
    for spool in "${RELAYD_ROOT:-}/var/spool/relayd" "${RELAYD_ROOT:-}/var/spool/emailrelay"; do
      if [ ! -d "$spool" ] || [ ! -r "$spool" ] || [ ! -x "$spool" ]; then continue; fi
      count=0
      more=
      for bad in "$spool"/*.envelope.bad; do
        [ -f "$bad" ] || continue
        if [ "$count" -eq 1000 ]; then
          more="more than "
          break
        fi
        count=$((count + 1))
      done
      case $count in
      0) ;;
      1) echo "relayd: 1 message could not be delivered: see $spool" ;;
      *) echo "relayd: $more$count messages could not be delivered: see $spool" ;;
      esac
    done
  )
  ;;
esac
