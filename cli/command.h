// The commands of eyrie, each a function in a file of its own. A command parses its flags, opens
// what it needs, calls one function of a lower folder and prints. main() turns exceptions into an
// exit status.
#pragma once

namespace eyrie::cli {

// argv[0] is the command's name as typed ("eyrie data build"); the rest are its arguments. Each
// function returns the exit status.
int run_train(int argc, char** argv);
int run_eval(int argc, char** argv);
int run_eval_list(int argc, char** argv);
int run_eval_compare(int argc, char** argv);
int run_eval_show(int argc, char** argv);
int run_score(int argc, char** argv);
int run_generate(int argc, char** argv);
int run_plan(int argc, char** argv);
int run_model_info(int argc, char** argv);
int run_data_build(int argc, char** argv);
int run_data_screen(int argc, char** argv);
int run_data_inspect(int argc, char** argv);
int run_model_init(int argc, char** argv);
int run_model_import(int argc, char** argv);
int run_model_export(int argc, char** argv);
int run_checkpoint_list(int argc, char** argv);
int run_checkpoint_verify(int argc, char** argv);
int run_checkpoint_prune(int argc, char** argv);
int run_slurm_submit(int argc, char** argv);
int run_slurm_evaluate(int argc, char** argv);
int run_slurm_build(int argc, char** argv);
int run_slurm_status(int argc, char** argv);
int run_slurm_cancel(int argc, char** argv);
int run_slurm_logs(int argc, char** argv);
int run_branch(int argc, char** argv);
int run_replay(int argc, char** argv);
int run_doctor(int argc, char** argv);
int run_version(int argc, char** argv);

}  // namespace eyrie::cli
