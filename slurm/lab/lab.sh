# shellcheck shell=bash
# What the lab's commands share: where the cluster is, and its names. Sourced, not run.
# The lab is one cluster per machine. A "node" is a network, host name, mount, IPC and process namespace of its own, with a
# private /dev/shm, a slurmd inside, and a cable (veth) to a bridge on which slurmctld listens. docs/slurm_lab.md.

lab=${EYRIE_LAB:-/run/eyrie-lab} # state of the cluster: configuration, sockets, logs, spool
bridge=eyrielab0
network=10.77.0
most_nodes=8

say() { echo "lab: $*" >&2; }

node_names() { seq -f 'n%g' 1 "$1"; }

# The process that is pid 1 of a node's process namespace, as seen from outside; empty if the node is down.
node_process() {
  local holder
  holder=$(cat "$lab/$1.pid" 2>/dev/null) || return 0
  pgrep -P "$holder" 2>/dev/null | head -n 1 || true
}

# Whether this machine can have a lab; says why not.
lab_possible() {
  if [ "$(id -u)" -ne 0 ]; then
    say "needs root (namespaces, a bridge, slurmd)"
    return 1
  fi
  local tool missing=()
  for tool in slurmctld slurmd sbatch munged ip nsenter unshare; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "missing: ${missing[*]} (on Debian: apt-get install slurmctld slurmd slurm-client munge iproute2 util-linux)"
    return 1
  fi
  if ! unshare --net --mount --uts --ipc --pid --fork true 2>/dev/null; then
    say "this machine does not allow namespaces"
    return 1
  fi
  if ! ip link add eyrielabtry type bridge 2>/dev/null; then
    say "this machine does not allow a bridge"
    return 1
  fi
  ip link del eyrielabtry
}
