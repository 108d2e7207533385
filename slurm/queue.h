// What Slurm says of partitions and jobs, and what it is told: sinfo, scontrol, sbatch, scancel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::slurm {

// Seconds of a time as Slurm writes it: "30" (minutes), "30:00", "12:00:00", "2-0", "2-12:30",
// "2-12:30:00"; −1 for UNLIMITED and INFINITE. Empty: it is no time.
std::optional<std::int64_t> seconds_of(const std::string& time);
std::string time_text(std::int64_t seconds);  // "1-12:30:00", "12:30:00"

struct Partition {
  std::string name;
  bool is_default = false, is_up = true;
  std::int64_t time_limit = -1;  // seconds; −1: none
  int nodes = 0, cpus = 0;       // cpus: of the node that has least
  std::int64_t memory_mb = 0;    // likewise
};
// By sinfo. Throws InputError if there is no Slurm here, Error if it does not answer.
std::vector<Partition> partitions();

// Jobs are named as Slurm prints them: "4711", or "4711_2" for a task of an array.
struct JobState {
  std::string state;   // RUNNING, PENDING, …; "" if Slurm does not know the job any more
  std::string reason;  // of waiting or of the end; "" for none
  std::string nodes;   // "n[1-2]"; "" before it has any
  int node_count = 0, restarts = 0;
  bool log_not_opened = false;  // it ended because its node could not open the file it prints to
  int tasks = 1;                // those of an array that wait are one entry
  std::optional<std::int64_t> end_time;  // seconds since the epoch
  bool waits() const { return state == "PENDING" || state == "REQUEUED" || state == "SUSPENDED"; }
  bool is_alive() const {
    return waits() || state == "RUNNING" || state == "COMPLETING" || state == "CONFIGURING";
  }
};
// By scontrol. Throws Error if Slurm does not answer.
JobState job_state(const std::string& job);
// Of all tasks of an array; empty if Slurm does not know the job any more.
std::vector<JobState> task_states(const std::string& job);

// Submits a script. `options` come before its name. Returns the job, of an array without a task.
// Throws InputError with sbatch's own words if it refuses.
std::string submit(const base::Path& script, const std::vector<std::string>& options);

// Sends a signal ("USR1") to the steps of a job, which leaves out its script; "": cancels it.
// Returns false if the job had ended. `waiting_only`: only tasks that have not begun.
bool signal(const std::string& job, const std::string& name, bool waiting_only = false);

}  // namespace eyrie::slurm
