// A rank under an MPI that lets only one thread at a time call it: its MPI_Init_thread says so.
#include <cstdio>
#include <exception>

#include "parallel/communication/communicator.h"

extern "C" {
int PMPI_Init_thread(int* argc, char*** argv, int required, int* provided);
int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  const int result = PMPI_Init_thread(argc, argv, required, provided);
  *provided = 2;  // MPI_THREAD_SERIALIZED: 2 in Open MPI and MPICH
  return result;
}
}

int main(int argc, char** argv) {
  try {
    eyrie::parallel::open_world(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
  return 0;
}
