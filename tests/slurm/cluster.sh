#!/usr/bin/env bash
# A SLURM cluster of two nodes on this machine, for tests: `cluster.sh up FOLDER`, `. FOLDER/env.sh`, `cluster.sh down FOLDER`.
# Needs root and Debian's slurmctld slurmd slurm-client slurmdbd munge mariadb-server. Everything lies in FOLDER, except for
# one marked line in /etc/hosts. Partition `main` preempts `scavenge`; each node has 2 CPUs and 2 GPUs that are none.
set -euo pipefail
what=$1 root=$2 port=${AMLRIS_SLURM_PORT:-17300} mark="# amlris-slurm-test $2"
export LC_ALL=C SLURM_CONF=$root/etc/slurm.conf

running() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

patiently() { # SECONDS COMMAND...
  local tries=$(($1 * 5))
  shift
  until "$@" >"$root/log/wait" 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "gave up on: $*" >&2; cat "$root/log/wait" >&2; return 1; }
    sleep 0.2
  done
}

# This cluster's line that names its nodes, added or not. In containers /etc/hosts is a mount: written, not replaced, one
# cluster at a time, and never empty meanwhile, since others look names up.
hosts() {
  local content line="127.0.0.1 amlnode1 amlnode2 $mark"
  exec 9<>/etc/hosts
  flock 9
  content=$(grep -vxF "$line" /etc/hosts || true; printf '%s' "${1:+$line}")
  printf '%s\n' "$content" | dd of=/etc/hosts conv=notrunc status=none
  truncate -s $((${#content} + 1)) /etc/hosts
  exec 9>&-
}

configure() {
  cat >"$root/etc/slurm.conf" <<CONF
ClusterName=amlris
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$root/run/munge.socket
StateSaveLocation=$root/state
SlurmdSpoolDir=$root/spool/%n
SlurmctldPidFile=$root/run/slurmctld.pid
SlurmdPidFile=$root/run/slurmd-%n.pid
SlurmctldLogFile=$root/log/slurmctld.log
SlurmdLogFile=$root/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,bf_interval=2
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=5
MinJobAge=600
SlurmdTimeout=300
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$root/run/munge.socket
JobAcctGatherType=jobacct_gather/none
NodeName=amlnode1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 3)) CPUs=2 RealMemory=8000 Gres=gpu:2 Feature=fake
NodeName=amlnode2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 4)) CPUs=2 RealMemory=8000 Gres=gpu:2 Feature=fake
PartitionName=main Nodes=amlnode[1-2] Default=YES MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=2
PartitionName=scavenge Nodes=amlnode[1-2] MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=1 GraceTime=5
CONF
  echo "NodeName=amlnode[1-2] Name=gpu File=$root/run/gpu[0-1]" >"$root/etc/gres.conf"
  echo "CgroupAutomount=no" >"$root/etc/cgroup.conf"
  cat >"$root/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$root/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((port + 1))
SlurmUser=root
LogFile=$root/log/slurmdbd.log
PidFile=$root/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 2))
StorageUser=slurm
StoragePass=slurm
CONF
  chmod 600 "$root/etc/slurmdbd.conf"
}

up() {
  mkdir -p "$root"/{etc,run,log,state,spool/amlnode1,spool/amlnode2}
  chmod 755 "$root" "$root/run"
  hosts added
  configure
  mariadb-install-db --no-defaults --user=root --datadir="$root/sql" --auth-root-authentication-method=normal \
    --skip-test-db >"$root/log/sql" 2>&1
  setsid mariadbd --no-defaults --user=root --datadir="$root/sql" --socket="$root/run/sql.socket" \
    --pid-file="$root/run/sql.pid" --port=$((port + 2)) --bind-address=127.0.0.1 --innodb-buffer-pool-size=32M \
    --innodb-log-file-size=8M --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 --skip-log-bin \
    >>"$root/log/sql" 2>&1 </dev/null &
  head -c 1024 /dev/urandom >"$root/etc/munge.key"
  chmod 400 "$root/etc/munge.key"
  munged --force --key-file="$root/etc/munge.key" --socket="$root/run/munge.socket" --pid-file="$root/run/munged.pid" \
    --log-file="$root/log/munged.log" --seed-file="$root/run/munge.seed" 2>"$root/log/munged"
  for number in 0 1; do mknod "$root/run/gpu$number" c 1 3 2>/dev/null || touch "$root/run/gpu$number"; done
  patiently 60 mariadb-admin --no-defaults --socket="$root/run/sql.socket" -uroot ping
  mariadb --no-defaults --socket="$root/run/sql.socket" -uroot -e "CREATE DATABASE slurm_acct_db;
    CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm'; GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
    CREATE USER slurm@localhost IDENTIFIED BY 'slurm'; GRANT ALL ON slurm_acct_db.* TO slurm@localhost;"
  slurmdbd
  patiently 60 sacctmgr -n show cluster
  sacctmgr -i add cluster amlris >"$root/log/accounts"
  sacctmgr -i add account test Description=test Organization=test >>"$root/log/accounts"
  sacctmgr -i add user root account=test >>"$root/log/accounts"
  slurmctld
  patiently 30 scontrol ping
  for node in amlnode1 amlnode2; do slurmd -N "$node"; done
  patiently 60 sh -c 'test "$(sinfo -h -p main -t idle -o %D)" = 2'
  echo "export SLURM_CONF=$SLURM_CONF" >"$root/env.sh"
}

down() {
  if running "$root/run/slurmctld.pid" && timeout 10 scancel --quiet --user=root; then
    # Daemons of steps outlive slurmd: they end with their jobs.
    for _ in $(seq 75); do [ -n "$(timeout 10 squeue -h -t all 2>/dev/null | grep ' CG ')" ] || break; sleep 0.2; done
  fi
  local pids=()
  for file in "$root"/run/*.pid; do running "$file" && pids+=("$(cat "$file")"); done
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  for _ in $(seq 50); do
    kill -0 "${pids[@]}" 2>/dev/null || break
    sleep 0.1
  done
  [ ${#pids[@]} = 0 ] || kill -KILL "${pids[@]}" 2>/dev/null || true
  for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd" 2>/dev/null) in
      "$root"/log*) kill -KILL "${process#/proc/}" 2>/dev/null || true ;; # a step's daemon that did not end
    esac
  done
  hosts
}

"$what"
