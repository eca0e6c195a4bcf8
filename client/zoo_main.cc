#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "client/cli/invocation.h"

namespace {

// What was printed counts once it is written: a full disk shows at the latest now.
bool OutputIsWritten() {
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout) return true;
  std::fprintf(stderr, "zoo: the output could not be written%s%s\n", errno == 0 ? "" : ": ",
               errno == 0 ? "" : std::strerror(errno));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const int code = zood::client::cli::Run(argc, argv, ZOOD_VERSION);
  if (OutputIsWritten() || code != zood::client::cli::kExitOk) return code;
  return zood::client::cli::kExitFailed;
}
