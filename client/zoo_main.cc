#include "client/cli/invocation.h"

int main(int argc, char** argv) { return zood::client::cli::Run(argc, argv, ZOOD_VERSION); }
