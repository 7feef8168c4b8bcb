#!/bin/sh
#
# filter-dkim-sign.sh: a filter that signs messages with DKIM (RFC 6376).
#
#   client-filter /usr/local/lib/relayd/filter-dkim-sign.sh
#
# As a client filter it signs what is really sent, after all other filters. It signs once: a message that
# is tried again keeps its signature. Needs openssl. A key, and what to publish for it:
#
#   openssl genrsa -out /etc/relayd/dkim.key 2048
#   openssl rsa -in /etc/relayd/dkim.key -pubout -outform DER | base64 -w 0
#   mail._domainkey.example.com.  TXT  "v=DKIM1; k=rsa; p=<that>"
#
# The key must be readable by the account that relayd runs filters as, and by nobody else. The signature is
# rsa-sha256 with relaxed canonicalisation, which stands what mail programs do to blanks and line ends.

set -eu

# ---- to be edited ----
domain=example.com
selector=mail
key=/etc/relayd/dkim.key
# These headers are signed, as often as they are there; From, To, Cc and Subject cannot be added later either.
headers='from to cc subject from to cc subject date message-id reply-to sender in-reply-to references
  mime-version content-type content-transfer-encoding list-id list-unsubscribe list-unsubscribe-post'
# ----------------------

export LC_ALL=C domain selector headers
umask 007 # new spool files are for the group, as relayd's own
content=$1
envelope=$2

fail() {
  rm -f "$content.edit"
  printf '<<451 cannot sign the message now>>\n<<dkim: %s>>\n' "$1"
  exit 1
}

[ -r "$content" ] || fail "cannot read the content"
[ -r "$key" ] || fail "cannot read the key"
# Binary content has no lines, which are what this way of signing is about.
if grep -q '^X-MailRelay-Content: binarymime' "$envelope"; then exit 0; fi

# Bytes of the header with the empty line after it.
header=$(awk '{ n += length($0) + 1 } /^\r?$/ { exit } END { print n + 0 }' "$content")
own="^dkim-signature[ \t]*:.*[; \t]d=${domain}[; \t\r]"
if head -c "$header" "$content" | awk -v own="$own" '
  function look() { if (tolower(field) ~ own) found = 1; field = "" }
  /^[ \t]/ { field = field $0; next }
  { look(); field = $0 }
  END { look(); exit !found }'; then
  exit 0
fi

# RFC 6376 3.4.4: blanks at line ends go, others become one, and so do empty lines at the end.
body_hash=$(tail -c "+$((header + 1))" "$content" | awk '
  { sub(/\r$/, ""); gsub(/[ \t]+/, " "); sub(/ $/, "") }
  $0 == "" { empty++; next }
  { for (; empty > 0; empty--) printf "\r\n"; printf "%s\r\n", $0 }' |
  openssl dgst -sha256 -binary | base64) || fail "cannot hash the body"
[ ${#body_hash} -eq 44 ] || fail "cannot hash the body"
export body_hash

# RFC 6376 3.4.2 and 5.4.2: the headers in canonical form, the last one of a name first; then the
# signature's own header, which is printed too, as the first line.
time=$(date +%s)
export time
canonical=$(head -c "$header" "$content" | awk '
  function trim(s) { gsub(/[ \t\r]+/, " ", s); sub(/^ /, "", s); sub(/ $/, "", s); return s }
  function keep(name) {
    if (field == "" || !(colon = index(field, ":"))) return
    name = tolower(trim(substr(field, 1, colon - 1)))
    value[name, ++count[name]] = trim(substr(field, colon + 1))
  }
  /^\r?$/ { exit }
  /^[ \t]/ { field = field $0; next }
  { keep(); field = $0 }
  END {
    keep()
    if (!count["from"]) exit 1
    many = split(ENVIRON["headers"], wanted)
    for (i = 1; i <= many; i++) total[wanted[i]]++
    for (i = 1; i <= many; i++) {
      name = wanted[i]
      # A blank after some colons, so that the header can be folded there.
      if (count[name] > 0 || total[name] > 1) list = list (list == "" ? "" : ++named % 4 ? ":" : ": ") name
      # One that is named but not there: nobody can add it and keep the signature.
      if (count[name] > 0) signed = signed name ":" value[name, count[name]--] "\r\n"
    }
    tags = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=" ENVIRON["domain"] "; s=" ENVIRON["selector"] \
      "; t=" ENVIRON["time"] "; h=" list "; bh=" ENVIRON["body_hash"] "; b="
    printf "%s\n%sdkim-signature:%s", tags, signed, tags
  }') || fail "the message has no From header"
tags=${canonical%%
*}

# Without the first line and its line end.
signature=$(printf '%s' "${canonical#*
}" | openssl dgst -sha256 -sign "$key" | base64 | tr -d '\n') || fail "cannot sign"
[ ${#signature} -ge 100 ] || fail "cannot sign"

# Folded only where there are blanks, and within the signature; the content follows untouched.
{
  printf '%s %s\n' "$tags" "$signature" | awk '{
    many = split($0, words, " ")
    line = "DKIM-Signature:"
    for (i = 1; i < many; i++) {
      if (length(line) + length(words[i]) > 76) { printf "%s\r\n", line; line = "\t" words[i] }
      else line = line " " words[i]
    }
    print line "\r"
    for (rest = words[many]; rest != ""; rest = substr(rest, 71)) print "\t" substr(rest, 1, 70) "\r"
  }'
  cat "$content"
} >"$content.edit" || fail "cannot write the content"
mv "$content.edit" "$content" || fail "cannot replace the content"
