#!/bin/sh
#
# filter-refuse-bcc.sh: a filter that refuses messages with a Bcc header.
#
#   filter /usr/local/lib/relayd/filter-refuse-bcc.sh
#
# A Bcc header that is still there when the message is handed in would tell every recipient who the hidden
# ones are. The sender's mail program should have removed it.

set -eu
export LC_ALL=C
content=$1

if [ ! -r "$content" ]; then
  printf '<<451 cannot process the message now>>\n<<cannot read the content>>\n'
  exit 1
fi
# Only the header counts, and a Bcc header with nothing in it harms nobody.
if awk '
  /^\r?$/ { exit }
  inside && /^[ \t]+[^ \t\r]/ { found = 1; exit }
  !/^[ \t]/ { inside = 0 }
  tolower($0) ~ /^bcc[ \t]*:/ { inside = 1; sub(/^[^:]*:/, ""); if (/[^ \t\r]/) { found = 1; exit } }
  END { exit !found }' "$content"; then
  printf '<<550 the message has a Bcc header>>\n<<Bcc header>>\n'
  exit 1
fi
