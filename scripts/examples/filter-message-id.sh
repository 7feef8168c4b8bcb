#!/bin/sh
#
# filter-message-id.sh: a filter that gives a Message-ID to messages without one.
#
#   filter /usr/local/lib/relayd/filter-message-id.sh
#
# relayd can do this by itself, with "filter msgid:". This is how it is done, and where to change the form.

set -eu

# ---- to be edited ----
domain=example.com
# ----------------------

export LC_ALL=C
umask 007 # new spool files are for the group, as relayd's own
content=$1

fail() {
  rm -f "$content.edit"
  printf '<<451 cannot process the message now>>\n<<%s>>\n' "$1"
  exit 1
}

[ -r "$content" ] || fail "cannot read the content"
# Only the header counts: a message in the body has a Message-ID of its own.
if awk '
  /^\r?$/ { exit }
  tolower($0) ~ /^message-id[ \t]*:/ { found = 1; exit }
  END { exit !found }' "$content"; then
  exit 0
fi

name=${content##*/}
random=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n') || fail "no random numbers"
{
  printf 'Message-ID: <%s.%s@%s>\r\n' "${name%.content}" "$random" "$domain" && cat "$content"
} >"$content.edit" || fail "cannot write the content"
mv "$content.edit" "$content" || fail "cannot replace the content"
