#include <cstdio>
#include <string>

#include "base/status.h"
#include "client/client.h"

absl::Status Ask(const std::string& address, const std::string& photo) {
  using namespace zood::client;
  ZOOD_ASSIGN_OR_RETURN(Client client, Client::Connect({.address = address}));
  ZOOD_ASSIGN_OR_RETURN(const zood::v1::ModelSpec model, ParseModelSpec("efficientnet_lite0"));
  ZOOD_ASSIGN_OR_RETURN(const auto answer, client.ClassifyFiles(model, {photo}, {.top_k = 3}));
  for (const zood::v1::Class& entry : answer.results(0).classes()) {
    std::printf("%6.2f %%  %s\n", entry.probability() * 100, entry.label().c_str());
  }
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: ask HOST:PORT PHOTO\n"), 2;
  const absl::Status status = Ask(argv[1], argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
