// The whole program, for main.cc and for programs that bring networks of their own:
//
//   int main(int argc, char** argv) {
//     zood::models::Zoo zoo = zood::models::Zoo::Standard();
//     if (!zoo.Add(MyNetwork()).ok()) return 1;
//     return zood::server::RunDaemon(argc, argv, zoo);
//   }
#pragma once

#include "models/zoo.h"

namespace zood::server {

// Runs the command line (`serve`, `inspect`, `fsck`, `gc`; see `--help`) and gives the process's
// exit code: 0 for success, 1 for an error, which is on standard error, 2 for a wrong command line.
//
// To be called from main, before there are threads: it may execute the program again, once, with
// an environment that the OpenMP runtime only reads when it is loaded.
int RunDaemon(int argc, char** argv, const models::Zoo& zoo);

}  // namespace zood::server
