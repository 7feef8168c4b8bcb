#!/bin/sh
#
# deny-ip.sh: refuses mail from the clients on a list. Works as an address verifier and as a filter:
#
#   address-verifier /usr/local/lib/relayd/deny-ip.sh      refuses at the first recipient
#   filter           /usr/local/lib/relayd/deny-ip.sh      refuses when the message has come
#
# Use the filter if there is another verifier already. The list is a text file with one address or pattern
# a line, for example 192.0.2.1, 198.51.100.* or 2001:db8:*; what follows a "#" is a remark. It is read each
# time, so that changes count at once.

set -eu

# ---- to be edited ----
list=/etc/relayd/denied-clients
# ----------------------

text='your address is on the list of denied clients'

denied() {
  while read -r pattern _ || [ -n "$pattern" ]; do
    case $pattern in '' | '#'*) continue ;; esac
    pattern=${pattern%%#*}
    # shellcheck disable=SC2254 # the patterns of the list are patterns
    case $1 in $pattern) return 0 ;; esac
  done <"$list"
  return 1
}

# A filter is given two files.
if [ $# -eq 2 ]; then
  if [ ! -r "$list" ] || [ ! -r "$2" ]; then
    printf '<<451 cannot process the message now>>\n<<cannot read %s>>\n' "$list"
    exit 1
  fi
  client=$(tr -d '\r' <"$2" | sed -n 's/^X-MailRelay-Client: *//p' | head -n 1)
  if denied "$client"; then
    printf '<<554 %s>>\n<<denied client %s>>\n' "$text" "$client"
    exit 1
  fi
  exit 0
fi

# A verifier is given recipient, sender, <ip>:<port>, domain, mechanism and id.
if [ ! -r "$list" ]; then
  printf 'cannot verify now\ncannot read %s\n' "$list"
  exit 3
fi
client=$3
case $client in
'['*) client=${client#'['} && client=${client%]*} ;;
*:*:*) client=${client%.*} ;; # as ::1.25
*) client=${client%:*} ;;
esac
if denied "$client"; then
  printf '%s\ndenied client %s\n' "$text" "$client"
  exit 2
fi
# A remote recipient, as it was given.
printf '\n%s\n' "$1"
exit 1
