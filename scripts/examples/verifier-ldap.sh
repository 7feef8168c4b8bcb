#!/bin/sh
#
# verifier-ldap.sh: an address verifier that accepts the recipients whom a directory knows.
#
#   address-verifier /usr/local/lib/relayd/verifier-ldap.sh
#
# Needs ldapsearch (Debian: ldap-utils). Recipients are accepted if an entry has the address as one of its
# mail attributes. If the directory cannot be asked, the client is told to try again later.

set -eu

# ---- to be edited ----
server=ldap://127.0.0.1
base='dc=example,dc=com'
attributes='mail mailAlternateAddress'
seconds=10
# ----------------------

export LC_ALL=C
recipient=$1

later() {
  printf 'cannot verify the recipient now\n%s\n' "$1"
  exit 3
}

# RFC 4515: anyone can put any character into an address, and here it must not mean anything.
escaped() {
  printf '%s' "$1" | sed 's/\\/\\5c/g; s/\*/\\2a/g; s/(/\\28/g; s/)/\\29/g'
}

case $recipient in
'' | *[[:cntrl:]]*)
  printf 'no such recipient\nan address that is no address\n'
  exit 2
  ;;
esac

address=$(escaped "$recipient")
filter=
for attribute in $attributes; do
  filter="$filter($attribute=$address)"
done

status=0
# 1.1: no attributes, the name of the entry is enough. No shell sees the address.
found=$(ldapsearch -x -LLL -o ldif-wrap=no -o "nettimeout=$seconds" -l "$seconds" -z 1 \
  -H "$server" -b "$base" "(|$filter)" 1.1 2>/dev/null) || status=$?
case $status in
0 | 4) ;; # 4: there are more entries than the one that was asked for
*) later "ldapsearch: exit code $status" ;;
esac
case $found in
dn:*)
  # A remote recipient, as it was given.
  printf '\n%s\n' "$recipient"
  exit 1
  ;;
*)
  printf 'no such recipient\nnot in the directory\n'
  exit 2
  ;;
esac
