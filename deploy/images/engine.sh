#!/usr/bin/env bash
# A Docker engine of one's own, on a socket in a folder, for machines where none runs.
#
#   deploy/images/engine.sh start DIR    starts it, and prints what DOCKER_HOST is to be
#   deploy/images/engine.sh stop DIR     ends it, by its process id; what is left in DIR may be removed
#
#   export DOCKER_HOST=$(deploy/images/engine.sh start /tmp/lyceum-engine)
#
# It is Debian's engine (apt-get install docker.io), and runs as root: called by another user, this
# uses sudo. It touches no firewall and makes no bridge: containers of this repository share the
# machine's network, and builds have none. Exit codes: 0 done, 1 it could not, 2 called wrongly.
set -euo pipefail

readonly longest_socket=/run/containerd/containerd.sock.ttrpc
readonly start_seconds=60 stop_seconds=60
# A socket's path has at most 107 bytes (unix(7)); this is the longest below the folder.
readonly longest_folder=$((107 - ${#longest_socket}))

die() { printf 'engine.sh: %s\n' "$2" >&2; exit "$1"; }

root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die 1 'an engine runs as root, and there is no sudo; run this as root, or name an engine by DOCKER_HOST.'
  root=(sudo -n)
fi

running() { "${root[@]}" kill -0 "$1" 2>/dev/null; }

# The engine leaves mounted what held the network of containers that shared the machine's, and a folder
# with a mount in it cannot be removed. The kernel writes a space in a path as \040 (proc_pid_mounts(5)).
unmount() { # FOLDER
  local point points=()
  while read -r _ point _; do
    point=${point//'\040'/ }
    [[ $point != "$1"/* ]] || points=("$point" "${points[@]}") # what was mounted last comes first
  done </proc/self/mounts
  [ ${#points[@]} = 0 ] || "${root[@]}" umount "${points[@]}"
}

start() { # FOLDER
  [ "$(uname -s)" = Linux ] || die 1 "an engine runs on Linux, and this is $(uname -s); start Docker's own here and name it by DOCKER_HOST."
  local missing=()
  for program in dockerd containerd runc; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} = 0 ] || die 1 "${missing[*]} missing; install with: apt-get install docker.io"
  mkdir -p "$1"
  local folder pid waited=0
  folder=$(cd "$1" && pwd -P)
  [ ${#folder} -le $longest_folder ] || die 2 "$folder is ${#folder} bytes long; the paths of the engine's sockets allow $longest_folder. Name a shorter folder."
  if pid=$(cat "$folder/engine.pid" 2>/dev/null) && running "$pid"; then
    printf 'unix://%s/docker.sock\n' "$folder"
    return
  fi
  "${root[@]}" rm -f "$folder/docker.sock" "$folder/docker.pid"
  # The socket is the caller's; nobody else on this machine needs it.
  "${root[@]}" env "PATH=$PATH:/usr/sbin:/sbin" dockerd \
    --data-root "$folder/data" --exec-root "$folder/run" --pidfile "$folder/docker.pid" \
    --host "unix://$folder/docker.sock" --group "$(id -g)" \
    --iptables=false --ip6tables=false --bridge=none >"$folder/engine.log" 2>&1 </dev/null &
  until DOCKER_HOST=unix://$folder/docker.sock "${BASH_SOURCE[0]%/*}/docker" version >/dev/null 2>&1; do
    kill -0 $! 2>/dev/null || { unmount "$folder"; die 1 "it ended: $(tail -n 1 "$folder/engine.log")"; }
    [ $((waited += 1)) -le $((start_seconds * 5)) ] || die 1 "no answer within $start_seconds s (log: $folder/engine.log)"
    sleep 0.2
  done
  "${root[@]}" cat "$folder/docker.pid" >"$folder/engine.pid"
  printf 'unix://%s/docker.sock\n' "$folder"
}

stop() { # FOLDER
  local pid waited=0
  pid=$(cat "$1/engine.pid" 2>/dev/null) || die 1 "there is no engine of $1"
  "${root[@]}" kill -TERM "$pid" 2>/dev/null || true
  while running "$pid"; do
    [ $((waited += 1)) -le $((stop_seconds * 5)) ] || die 1 "process $pid is still there after $stop_seconds s"
    sleep 0.2
  done
  unmount "$(cd "$1" && pwd -P)"
  rm -f "$1/engine.pid"
}

[ $# = 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
case $1 in
  start) start "$2" ;;
  stop) stop "$2" ;;
  *) die 2 "there is no command $1; there are start and stop" ;;
esac
