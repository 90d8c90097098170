#!/bin/bash
# Tells a hoster's API which node has each external IP: once at the start, and after each move.
# docs/hoster.md says how to run it. It needs bash, kubectl and curl.
#
# Environment: HOSTER_API, the URL that an IP is appended to; HOSTER_TOKEN; EVERY, the seconds after
# which what the API refused is tried again, and KUBECTL, each with a default.
set -u

: "${HOSTER_API:?}" "${HOSTER_TOKEN:?}" "${EVERY:=5}" "${KUBECTL:=kubectl}"

# Have the hoster route an IP to a node. Adapt this to your hoster. It must return an error when the
# hoster has not done it, and do no harm when it is called twice.
tell() {
    local ip=$1 node=$2
    curl --fail --silent --show-error --globoff --max-time 10 --request PUT \
        --header @<(echo "Authorization: Bearer $HOSTER_TOKEN") \
        --header 'Content-Type: application/json' --data "{\"server\": \"$node\"}" \
        "$HOSTER_API/$ip"
}

declare -A told=() due=()    # the node of each IP: as the hoster knows it; as it has to be told

tell_what_is_due() {
    local ip
    for ip in "${!due[@]}"; do
        if tell "$ip" "${due[$ip]}" >/dev/null; then
            echo "$ip is on ${due[$ip]}"
            told[$ip]=${due[$ip]}
            unset "due[$ip]"
        fi
    done
}

while :; do
    # The watch ends after some minutes, and then lists all claims anew: what was missed comes back.
    while read -r -t "$EVERY" cidr node || (($? > 128)); do
        ip=${cidr%/*}
        if [[ -z $cidr || -z $node ]]; then
            :    # nothing came for a while, or no node has the IP
        elif [[ ${told[$ip]-} == "$node" ]]; then
            unset "due[$ip]"    # it has moved back
        else
            due[$ip]=$node
        fi
        cidr='' node=''
        tell_what_is_due
    done < <("$KUBECTL" get ipclaims --watch --request-timeout=5m \
        --output=jsonpath='{.spec.cidr}{" "}{.status.holder}{"\n"}')
    sleep 1
done
